"""Styles and scripts are compressed, kept by browsers for good, and all named by the page that loads them."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from urllib.parse import urljoin

import pytest

from tests.api.clients import ApiClient, App

GZIP = {"Accept-Encoding": "gzip, br"}
PAGES = ("/", "/gallery", "/conversation", "/bulk", "/grid", "/queue", "/account", "/api/v1/docs")
PRELOADED = re.compile(r'rel="modulepreload" href="([^"]+)"')
STYLES = re.compile(r'rel="stylesheet" href="([^"]+)"')
IMPORTED = re.compile(r'from "(\./[\w-]+\.js)"|^import "(\./[\w-]+\.js)"', re.MULTILINE)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_names_every_script_that_its_scripts_import(client: ApiClient, path: str) -> None:
    preloaded = PRELOADED.findall(client.get(path).text)
    assert any(each.endswith("/js/frame.js") for each in preloaded)
    for each in preloaded:
        for names in IMPORTED.findall(client.get(each).text):
            assert urljoin(each, names[0] or names[1]) in preloaded, each


@pytest.mark.parametrize("path", PAGES)
def test_a_page_and_its_files_are_compressed_to_less_than_the_budget(client: ApiClient, path: str) -> None:
    page = client.get(path, headers=GZIP)
    assert page.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in page.headers["Vary"]
    text = gzip.decompress(page.data).decode()
    assert text == client.get(path).text
    files = {*PRELOADED.findall(text), *STYLES.findall(text)}
    assert len(page.data) + sum(len(client.get(each, headers=GZIP).data) for each in files) < 100_000


def test_a_file_of_the_current_release_is_kept_for_good_and_another_one_is_asked_for_again(client: ApiClient) -> None:
    styles = STYLES.findall(client.get("/").text)[0]
    assert client.get(styles).headers["Cache-Control"] == "public, max-age=31536000, immutable"
    release = styles.split("/")[2]
    for other in (styles.replace(release, "0" * 12), styles.replace(f"/{release}", "")):
        answer = client.get(other)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-cache")
        assert answer.data == client.get(styles).data


def test_each_format_of_a_file_has_its_own_etag_which_is_answered_with_304(client: ApiClient) -> None:
    plain, small = client.get("/static/js/dom.js"), client.get("/static/js/dom.js", headers=GZIP)
    assert "Content-Encoding" not in plain.headers
    assert gzip.decompress(small.data) == plain.data
    assert plain.headers["Vary"] == small.headers["Vary"] == "Accept-Encoding"
    assert plain.headers["ETag"] != small.headers["ETag"]
    again = client.get("/static/js/dom.js", headers=GZIP | {"If-None-Match": small.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    refused = client.get("/static/js/dom.js", headers={"Accept-Encoding": "gzip;q=0"})
    assert "Content-Encoding" not in refused.headers


@pytest.mark.parametrize("path", ["../routes.py", "js/../../routes.py", "%2e%2e/routes.py", "js", "", "0" * 12])
def test_a_path_outside_the_static_folder_is_not_found(client: ApiClient, path: str) -> None:
    assert client.get(f"/static/{path}").status_code == 404


@pytest.mark.parametrize("path", ["/sign-in?next=/sign-in-sign-in", "/api/v1/jobs", "/no-such-page?q=secret"])
def test_what_repeats_its_request_or_is_private_is_not_compressed(client: ApiClient, path: str) -> None:
    assert "Content-Encoding" not in client.get(path, headers=GZIP | {"Accept": "text/html"}).headers


def test_a_form_that_is_shown_again_is_not_compressed(client: ApiClient) -> None:
    shown = client.post("/draw", data={"prompt": "", "seed": "secret"}, headers=GZIP)
    assert shown.status_code >= 400
    assert "Content-Encoding" not in shown.headers


def test_the_texts_of_scripts_are_compressed(make_app: Callable[..., App]) -> None:
    client = make_app(require_keys=True).test_client()
    page = client.get("/sign-in", headers={"Accept-Language": "de"}).text
    found = re.search(r'data-texts="([^"]+)"', page)
    assert found
    answer = client.get(found[1], headers=GZIP)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert b"Studio" in gzip.decompress(answer.data)
