"""Small talk in conversations and chat completions: it is answered in words and makes no job."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import update

from limner_shared.db.engine import Database
from limner_shared.db.tables import Conversation, ConversationTurn, Job
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_bulks import both_databases, rows
from tests.api.test_conversations import URL, apply_retention, begin, interpret, say, spec_of


@both_databases
def test_small_talk_is_answered_in_words_and_a_description_after_it_is_drawn(client: ApiClient, app: App):
    conversation = begin(client, "hello")
    [greeting] = conversation["turns"]
    assert (greeting["job"], greeting["reply"]["language"]) == (None, "en")
    assert "Describe a picture" in greeting["reply"]["text"]
    assert greeting["reply"]["examples"]
    assert rows(app, Job) == 0
    car = say(client, conversation, "a red car", model="limner-gan")
    assert (car["reply"], car["job"]["status"], spec_of(app, car).history) == (None, "queued", ())
    interpret(app, car, "a shiny red car", seed=7)
    thanks = say(client, conversation, "vielen Dank!")
    assert (thanks["job"], thanks["reply"]["language"], thanks["parent"]) == (None, "de", car["id"])
    bluer = say(client, conversation, "bluer")
    assert (bluer["parent"], bluer["job"]["model"]) == (thanks["id"], "limner-gan")
    assert [turn.text for turn in spec_of(app, bluer).history] == ["a red car"]
    assert client.get(conversation["links"]["self"]).json["title"] == "a red car"
    edited = client.put(f"{conversation['links']['self']}/turns/{greeting['id']}", json={"message": "a dog"}).json
    assert (edited["parent"], edited["job"]["status"]) == (None, "queued")


def test_a_repeated_message_of_small_talk_makes_one_turn(client: ApiClient, app: App):
    headers = {"Idempotency-Key": "k"}
    first = client.post(URL, json={"message": "hello"}, headers=headers).json
    assert client.post(URL, json={"message": "hello"}, headers=headers).json["id"] == first["id"]
    other = client.post(URL, json={"message": "hi"}, headers=headers)
    assert (other.status_code, other.json["code"]) == (409, "idempotency_conflict")
    assert client.delete(first["links"]["self"]).status_code == 204
    assert client.post(URL, json={"message": "hello"}, headers=headers).status_code == 410
    assert rows(app, ConversationTurn) == 0


def test_small_talk_of_an_unknown_model_is_refused(client: ApiClient):
    assert client.post(URL, json={"message": "hello", "model": "none"}).status_code == 422


def test_retention_deletes_conversations_of_small_talk_and_titles_given_by_a_later_message(
    client: ApiClient, app: App, database: Database
):
    begin(client, "hello")
    drawn = begin(client, "good morning")
    turn = say(client, drawn, "a secret car")
    finish(app, start(app, turn["job"]["id"]), png("red"))
    apply_retention(database, keep_prompts_days=0)
    assert client.get(drawn["links"]["self"]).json["title"] == ""
    with database.write() as session:
        session.execute(update(Conversation).values(touched_at=Conversation.touched_at - 5))
    apply_retention(database, keep_jobs_days=0)
    assert rows(app, Conversation) == 0


@pytest.mark.parametrize("stream", [True, False])
def test_a_chat_answers_small_talk_in_words(client: ApiClient, app: App, stream: bool):
    messages = [
        {"role": "system", "content": "Draw."},
        {"role": "user", "content": "hallo"},
    ]
    headers = {"Accept-Language": "nl,en;q=0.5"}
    answer = client.post("/v1/chat/completions", json={"messages": messages, "stream": stream}, headers=headers)
    assert answer.status_code == 200
    if stream:
        events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
        assert events[-1] == "[DONE]"
        deltas = [json.loads(event)["choices"][0]["delta"] for event in events[:-1]]
        content = "".join(delta.get("content", "") for delta in deltas)
    else:
        content = answer.json["choices"][0]["message"]["content"]
    assert "Beschrijf een afbeelding" in content
    assert "- een rode appel" in content
    assert rows(app, Job) == 0
