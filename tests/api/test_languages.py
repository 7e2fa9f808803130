"""The pages speak the reader's language: the one that was chosen, else the best that the browser asks for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from limner_web.pages.languages import LANGUAGES
from tests.api.clients import ApiClient, App

PAGES = ("/", "/gallery", "/conversation", "/bulk", "/grid", "/queue", "/account", "/sign-in", "/nothing")


@pytest.mark.parametrize(
    ("accepted", "language"),
    [("de", "de"), ("de-AT,en;q=0.5", "de"), ("nl,fr;q=0.8,en;q=0.5", "fr"), ("zh-CN", "zh"), ("nl", "en"), ("", "en")],
)
def test_the_browser_says_which_language(client: ApiClient, accepted: str, language: str) -> None:
    answer = client.get("/", headers={"Accept-Language": accepted})
    assert f'<html lang="{language}"' in answer.text
    assert answer.headers["Content-Language"] == language
    assert {"Accept-Language", "Cookie"} <= set(answer.headers["Vary"].replace(" ", "").split(","))


def test_the_choice_of_the_reader_wins_and_leads_back(client: ApiClient) -> None:
    answer = client.post("/language", data={"language": "es", "next": "/account"})
    assert (answer.status_code, answer.location) == (303, "/account")
    assert '<html lang="es"' in client.get("/", headers={"Accept-Language": "de"}).text
    assert client.post("/language", data={"language": "es", "next": "https://evil.example/"}).location == "/"
    client.post("/language", data={"language": "../de", "next": "/"})
    assert '<html lang="es"' in client.get("/").text


def test_another_site_cannot_choose(client: ApiClient) -> None:
    answer = client.post("/language", data={"language": "es"}, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_rendered_in_every_language(client: ApiClient, path: str) -> None:
    for language in LANGUAGES:
        answer = client.get(path, headers={"Accept-Language": language, "Accept": "text/html"})
        assert answer.status_code == (404 if path == "/nothing" else 200)
        assert f'<html lang="{language}"' in answer.text


def test_the_texts_of_scripts_are_kept_by_the_browser_and_need_no_key(make_app: Callable[..., App]) -> None:
    client = make_app(require_keys=True).test_client()
    page = client.get("/sign-in", headers={"Accept-Language": "de"}).text
    path = page.partition('data-texts="')[2].partition('"')[0]
    answer = client.get(path)
    assert "immutable" in answer.headers["Cache-Control"]
    assert json.loads(answer.data)["Connected again"] == "Wieder verbunden"
    for wrong in ("/texts/de.0000000000000000.json", "/texts/xx.json", "/texts/en.json", "/texts/.json"):
        assert client.get(wrong).status_code == 404


def test_an_error_without_javascript_is_in_the_readers_language(client: ApiClient) -> None:
    german = {"Accept-Language": "de"}
    empty: Any = client.post("/draw", data={"prompt": ""}, headers=german)
    assert empty.status_code == 422
    assert "Beschreiben Sie das Bild, das Sie möchten." in empty.text


def test_a_description_of_a_card_may_hold_percent_signs(make_app: Callable[..., App], tmp_path: Path) -> None:
    text = "50 % (of %s) %(all)s"
    card = (Path(__file__).parents[1] / "models" / "null.toml").read_text()
    (tmp_path / "half.toml").write_text(card.replace('title = "Null"', f'title = "Null"\ndescription = "{text}"'))
    client = make_app(models=(tmp_path,), default_model="null").test_client()
    assert text in client.get("/", headers={"Accept-Language": "de"}).text
