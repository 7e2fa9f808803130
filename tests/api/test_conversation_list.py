"""Conversations are found by words of their titles and messages, and renamed."""

from __future__ import annotations

from typing import Any

import pytest

from limner_shared.db import conversation_search
from limner_shared.db.engine import Database
from tests.api.clients import ApiClient
from tests.api.test_bulks import both_databases
from tests.api.test_conversations import URL, begin, say
from tests.api.test_keys import make_key


def found(client: ApiClient, q: str) -> list[str]:
    ids: list[str] = []
    cursor = ""
    while True:
        page = client.get(URL, query_string={"q": q, "limit": "2"} | ({"cursor": cursor} if cursor else {})).json
        ids += [each["id"] for each in page["items"]]
        cursor = page["next"]
        if cursor is None:
            return ids


@both_databases
def test_a_search_finds_conversations_by_all_words_of_their_title_and_messages(
    client: ApiClient, monkeypatch: pytest.MonkeyPatch
):
    car, fox, apple = begin(client, "a red car"), begin(client, "Füchse im Wald"), begin(client, "请画一个红苹果")
    say(client, car, "now with a caravan")
    talks = {"car": [car["id"]], "RED cara": [car["id"]], "fuchse": [fox["id"]], "红苹果": [apple["id"]]}
    for candidates, messages in ((300, 1000), (1, 1000), (300, 3)):  # in one look, and in several
        monkeypatch.setattr(conversation_search, "CANDIDATES", candidates)
        monkeypatch.setattr(conversation_search, "MESSAGES", messages)
        for q, expected in talks.items():
            assert found(client, q) == expected, q
        for q in ("car fox", "ed"):
            assert found(client, q) == [], q
    assert client.get(f"{URL}?q=%21").json["field"] == "q"
    assert [each["id"] for each in client.get(URL).json["items"]] == [apple["id"], fox["id"], car["id"]]


@both_databases
def test_a_renamed_conversation_has_its_new_title_everywhere(client: ApiClient):
    talk = begin(client, "a red car")
    answer = client.put(f"{URL}/{talk['id']}/title", json={"title": " My  garage "})
    assert (answer.status_code, answer.json["title"]) == (200, "My  garage")
    assert client.get(URL).json["items"][0]["title"] == "My  garage"
    assert found(client, "garage") == [talk["id"]]
    assert found(client, "red") == [talk["id"]]


@pytest.mark.parametrize("body", [{}, {"title": ""}, {"title": "   "}, {"title": "x" * 81}, {"title": 7}])
def test_a_title_is_one_to_eighty_characters(client: ApiClient, body: Any):
    talk = begin(client)
    assert client.put(f"{URL}/{talk['id']}/title", json=body).status_code == 422
    assert client.get(URL).json["items"][0]["title"] == "a red car"


def test_another_tenants_conversation_is_neither_found_nor_renamed(client: ApiClient, database: Database):
    talk = begin(client)
    headers = make_key(database, "theirs")
    assert client.get(f"{URL}?q=car", headers=headers).json["items"] == []
    assert client.put(f"{URL}/{talk['id']}/title", json={"title": "x"}, headers=headers).status_code == 404
    assert client.get(URL).json["items"][0]["title"] == "a red car"
