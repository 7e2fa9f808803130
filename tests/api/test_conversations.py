"""Conversations: each message is a job that has the earlier messages as its history."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select, update

from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.db.ledger import conversations
from limner_shared.db.tables import ConversationTurn, Job, Tenant
from limner_shared.domain.conditions import Conditions, Interpretation
from limner_shared.domain.jobs import JobSpec
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_bulks import both_databases
from tests.api.test_keys import make_key

URL = "/api/v1/conversations"


def begin(client: ApiClient, message: str = "a red car", **more: Any) -> dict[str, Any]:
    answer = client.post(URL, json={"message": message} | more)
    assert answer.status_code == 201, answer.json
    return answer.json


def say(client: ApiClient, conversation: dict[str, Any], message: str, **more: Any) -> dict[str, Any]:
    answer = client.post(conversation["links"]["messages"], json={"message": message} | more)
    assert answer.status_code == 202, answer.json
    return answer.json


def spec_of(app: App, turn: dict[str, Any]) -> JobSpec:
    with app.extensions["limner"].database.read() as session:
        return JobSpec.model_validate(session.get_one(Job, turn["job"]["id"]).spec)


def interpret(app: App, turn: dict[str, Any], prompt: str, **more: Any) -> None:
    """Act as the worker: interpret the turn's job and finish it."""
    claim = start(app, turn["job"]["id"])
    found = Interpretation(conditions=Conditions(prompt=prompt), backend="rules")
    fitted = claim.spec.model_copy(update={"prompt": prompt} | more)
    with app.extensions["limner"].database.write() as session:
        assert ledger.store_interpretation(session, claim.id, claim.attempt, found, fitted, 1)
    finish(app, claim, png("red"))


def test_a_first_message_creates_a_conversation_and_a_job(client: ApiClient):
    conversation = begin(client, "please draw a red car", style="flat")
    [turn] = conversation["turns"]
    assert conversation["title"] == turn["message"] == turn["job"]["description"] == "please draw a red car"
    assert (turn["parent"], turn["job"]["status"], turn["job"]["style"]) == (None, "queued", "flat")
    assert client.get(conversation["links"]["self"]).json["turns"] == [turn]
    assert client.get(f"/api/v1/jobs/{turn['job']['id']}").json["description"] == "please draw a red car"


def test_a_later_message_has_the_earlier_messages_and_their_conditions(client: ApiClient, app: App):
    conversation = begin(client)
    first = conversation["turns"][0]
    interpret(app, first, "a shiny red car", seed=7)
    second = say(client, conversation, "bluer")
    assert second["parent"] == first["id"]
    [known] = spec_of(app, second).history
    assert (known.text, known.conditions.prompt, known.conditions.seed) == ("a red car", "a shiny red car", 7)
    third = say(client, conversation, "as a 3d figure")
    assert [(turn.text, turn.conditions is None) for turn in spec_of(app, third).history] == [
        ("a red car", False),
        ("bluer", True),  # not interpreted yet
    ]


def test_an_edited_message_is_a_new_branch_without_the_later_messages(client: ApiClient, app: App):
    conversation = begin(client)
    first = conversation["turns"][0]
    second = say(client, conversation, "bluer")
    say(client, conversation, "four of them")
    url = f"{conversation['links']['self']}/turns/{second['id']}"
    edited = client.put(url, json={"message": "greener"})
    assert edited.status_code == 202
    assert edited.json["parent"] == first["id"]
    assert [turn.text for turn in spec_of(app, edited.json).history] == ["a red car"]
    after = say(client, conversation, "with a tree", after=edited.json["id"])
    assert [turn.text for turn in spec_of(app, after).history] == ["a red car", "greener"]
    assert len(client.get(conversation["links"]["self"]).json["turns"]) == 5


def test_the_history_and_the_number_of_turns_are_limited(client: ApiClient, app: App, monkeypatch: pytest.MonkeyPatch):
    conversation = begin(client)
    for number in range(22):
        turn = say(client, conversation, f"message {number}")
    assert [one.text for one in spec_of(app, turn).history] == [f"message {number}" for number in range(1, 21)]
    monkeypatch.setattr(conversations, "MAX_TURNS", 23)
    refused = client.post(conversation["links"]["messages"], json={"message": "one more"})
    assert (refused.status_code, refused.json["code"]) == (422, "invalid_request")
    with app.extensions["limner"].database.read() as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 23  # the refused message created no job


def test_a_later_message_uses_the_model_of_the_previous_one(client: ApiClient):
    conversation = begin(client, model="limner-gan")
    assert say(client, conversation, "bluer")["job"]["model"] == "limner-gan"
    assert say(client, conversation, "bluer", model="limner-flow")["job"]["model"] == "limner-flow"


@pytest.mark.parametrize(
    "body",
    [{}, {"message": " "}, {"message": "x" * 10_001}, {"message": "x", "prompt": "y"}, {"message": "x", "n": 99}],
)
def test_an_invalid_message_creates_no_turn(client: ApiClient, app: App, body: dict[str, Any]):
    assert client.post(URL, json=body).status_code == 422
    conversation = begin(client)
    assert client.post(conversation["links"]["messages"], json=body).status_code == 422
    with app.extensions["limner"].database.read() as session:
        assert session.scalar(select(func.count()).select_from(ConversationTurn)) == 1


def test_a_repeated_key_returns_the_same_turn_and_conflicts_in_another_place(client: ApiClient):
    headers = {"Idempotency-Key": "k"}
    first = client.post(URL, json={"message": "a cat"}, headers=headers).json
    assert client.post(URL, json={"message": "a cat"}, headers=headers).json["id"] == first["id"]
    other = client.post(first["links"]["messages"], json={"message": "a cat"}, headers=headers)
    assert (other.status_code, other.json["code"]) == (409, "idempotency_conflict")


@both_databases
@pytest.mark.parametrize("repeated", [{"Idempotency-Key": "k"}, {"X-Stainless-Retry-Count": "1"}])
def test_a_repeated_message_returns_its_first_turn_even_after_later_messages(
    client: ApiClient, app: App, repeated: dict[str, Any]
):
    first_try = {"X-Stainless-Retry-Count": "0"} if "Idempotency-Key" not in repeated else repeated
    conversation = begin(client)
    url = conversation["links"]["messages"]
    sent = client.post(url, json={"message": "bluer"}, headers=first_try).json
    say(client, conversation, "greener", model="limner-gan")
    again = client.post(url, json={"message": "bluer"}, headers=repeated)
    assert (again.status_code, again.json["id"]) == (202, sent["id"])
    assert len(client.get(conversation["links"]["self"]).json["turns"]) == 3


@both_databases
def test_concurrent_repeats_of_a_message_create_one_turn(client: ApiClient, app: App):
    conversation = begin(client)
    url, headers = conversation["links"]["messages"], {"Idempotency-Key": "k"}

    def send(_: int) -> str:
        return app.test_client().post(url, json={"message": "bluer"}, headers=headers).json["id"]

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(send, range(16)))) == 1
    assert len(client.get(conversation["links"]["self"]).json["turns"]) == 2


@both_databases
def test_repeating_the_request_of_a_deleted_conversation_returns_gone(client: ApiClient):
    headers = {"Idempotency-Key": "k"}
    conversation = client.post(URL, json={"message": "a cat"}, headers=headers).json
    assert client.delete(conversation["links"]["self"]).status_code == 204
    again = client.post(URL, json={"message": "a cat"}, headers=headers)
    assert (again.status_code, again.json["code"]) == (410, "gone")
    assert client.post(URL, json={"message": "a cat"}, headers={"Idempotency-Key": "new"}).status_code == 201


def test_a_repeated_request_creates_a_new_job_after_retention_deleted_the_first(
    client: ApiClient, app: App, database: Database
):
    headers = {"Idempotency-Key": "k"}
    job = client.post("/api/v1/jobs", json={"prompt": "a cat"}, headers=headers).json
    finish(app, start(app, job["id"]), png("red"))
    apply_retention(database, keep_jobs_days=0)
    again = client.post("/api/v1/jobs", json={"prompt": "a cat"}, headers=headers)
    assert again.status_code == 202
    assert again.json["id"] != job["id"]


@both_databases
def test_deleting_a_conversation_during_messages_causes_no_server_error(app: App):
    for number in range(10):
        conversation = begin(app.test_client(), f"round {number}")

        def send(count: int, links: dict[str, Any] = conversation["links"]) -> int:
            client = app.test_client()
            if count == 3:
                return client.delete(links["self"]).status_code
            return client.post(links["messages"], json={"message": "bluer"}).status_code

        with ThreadPoolExecutor(6) as pool:
            assert set(pool.map(send, range(6))) <= {202, 204, 404, 410}


def test_conversations_are_listed_newest_first_in_pages(client: ApiClient):
    ids = [begin(client, f"cat {number}")["id"] for number in range(3)]
    page = client.get(URL, query_string={"limit": 2}).json
    assert [item["id"] for item in page["items"]] == ids[:0:-1]
    rest = client.get(URL, query_string={"limit": 2, "cursor": page["next"]}).json
    assert ([item["id"] for item in rest["items"]], rest["next"]) == (ids[:1], None)


def test_deleting_a_conversation_keeps_its_jobs(client: ApiClient):
    conversation = begin(client)
    assert client.delete(conversation["links"]["self"]).status_code == 204
    assert client.get(conversation["links"]["self"]).status_code == 404
    assert client.get(f"/api/v1/jobs/{conversation['turns'][0]['job']['id']}").status_code == 200


def test_another_tenants_conversation_is_not_found(make_app: Callable[..., App], database: Database):
    client = make_app(require_keys=True).test_client()
    mine, yours = make_key(database, "mine"), make_key(database, "yours")
    conversation = client.post(URL, json={"message": "a cat"}, headers=mine).json
    own, turn = conversation["links"]["self"], conversation["turns"][0]["id"]
    assert client.get(own, headers=yours).status_code == 404
    assert client.delete(own, headers=yours).status_code == 404
    assert client.post(f"{own}/messages", json={"message": "x"}, headers=yours).status_code == 404
    assert client.put(f"{own}/turns/{turn}", json={"message": "x"}, headers=yours).status_code == 404
    assert client.get(URL, headers=yours).json["items"] == []
    assert client.get(own, headers=mine).status_code == 200


def test_a_turn_of_another_conversation_cannot_be_continued_or_edited(client: ApiClient):
    one, other = begin(client), begin(client)
    turn = other["turns"][0]["id"]
    assert client.post(one["links"]["messages"], json={"message": "x", "after": turn}).status_code == 404
    assert client.put(f"{one['links']['self']}/turns/{turn}", json={"message": "x"}).status_code == 404


def test_retention_also_deletes_prompts_and_jobs_from_the_conversation(client: ApiClient, app: App, database: Database):
    conversation = begin(client)
    interpret(app, conversation["turns"][0], "a shiny red car")
    apply_retention(database, keep_prompts_days=0)
    blanked = client.get(conversation["links"]["self"]).json
    [turn] = blanked["turns"]
    assert (blanked["title"], turn["message"]) == ("", "")
    assert (turn["job"]["prompt"], turn["job"]["description"], turn["job"]["interpretation"]) == ("", None, None)
    say(client, conversation, "bluer")
    apply_retention(database, keep_jobs_days=0)
    assert client.get(conversation["links"]["self"]).json["turns"][0]["job"] is None
    assert len(spec_of(app, say(client, conversation, "greener")).history) == 2


def test_a_conversation_is_deleted_with_its_last_job(client: ApiClient, app: App, database: Database):
    conversation = begin(client)
    interpret(app, conversation["turns"][0], "a shiny red car")
    apply_retention(database, keep_jobs_days=0)
    assert client.get(conversation["links"]["self"]).status_code == 404


def test_retention_removes_old_messages_from_the_history_of_ended_turns(
    client: ApiClient, app: App, database: Database
):
    conversation = begin(client)
    first = conversation["turns"][0]
    interpret(app, first, "a shiny red car")
    ended, waiting = say(client, conversation, "bluer"), say(client, conversation, "greener")
    interpret(app, ended, "a shiny blue car")
    with database.write() as session:
        session.execute(update(Job).where(Job.id == first["job"]["id"]).values(finished_at=Job.finished_at - 86400))
    apply_retention(database, keep_prompts_days=0.5)
    assert (spec_of(app, ended).history, spec_of(app, ended).prompt) == ((), "a shiny blue car")
    assert spec_of(app, waiting).history  # not interpreted yet


def apply_retention(database: Database, **days: float) -> None:
    """Set the tenant's retention times, in days, and delete expired data as the dispatcher does."""
    with database.write() as session:
        session.execute(update(Tenant).values(days))
    with database.write() as session:
        ledger.forget_prompts(session, 10)
        ledger.forget_histories(session, 10)
        ledger.forget_jobs(session, 10)
