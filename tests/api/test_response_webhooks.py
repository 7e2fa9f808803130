"""The events of responses in the background, as OpenAI's client subscribes to them and verifies them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update

from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.db.tables import Job
from limner_shared.db.webhook_tables import WebhookEvent
from limner_shared.domain.responses import MARK
from limner_shared.errors import GenerationFailed
from tests.api.canvas import RESPONSES, TOOL
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_bulks import both_databases
from tests.api.test_webhook_endpoints import openai_client
from tests.api.webhook_services import JOBS, app, cancel, create_endpoint, delivering
from tests.processes import eventually
from tests.receivers import receiver

__all__ = ["app", "delivering"]

KINDS: Any = ["response.completed", "response.failed", "response.cancelled", "response.incomplete"]


def respond(client: ApiClient, **more: Any) -> dict[str, Any]:
    answer = client.post(RESPONSES, json={"input": "a red apple", "tools": [TOOL], "background": True} | more)
    assert answer.status_code == 200, answer.text
    return answer.json


def events(database: Database) -> list[tuple[str, Any]]:
    with database.read() as session:
        rows = session.scalars(select(WebhookEvent).order_by(WebhookEvent.id))
        return [(row.type, row.data) for row in rows]


def test_the_openai_client_hears_of_a_response_in_the_background(app: App, delivering: None):
    with receiver() as shop, openai_client(app) as openai:
        endpoint = openai.webhooks.create(name="shop", url=shop.url, event_types=KINDS)
        made = openai.responses.create(input="a red apple", tools=[{"type": "image_generation"}], background=True)
        finish(app, start(app, app.test_client().get(JOBS).json["items"][0]["id"]), png("red"))
        eventually(lambda: shop.requests)
        sent = shop.requests[0]
        event = openai.webhooks.unwrap(sent.body, sent.headers, secret=endpoint.signing_secret)
        assert event.type == "response.completed"
        assert event.data.id == made.id
        assert openai.responses.retrieve(event.data.id).status == "completed"


@both_databases
def test_each_end_has_its_event_and_only_of_responses_in_the_background(
    app: App, client: ApiClient, database: Database
):
    respond(client)  # before anyone wants to know
    create_endpoint(client, "https://shop.example", *KINDS)
    done, failed, canceled = (respond(client) for _ in range(3))
    finish(app, start(app, done["job_id"]), png("red"))
    claim = start(app, failed["job_id"])
    with database.write() as session:
        ledger.fail(session, ledger.Result(claim.id, claim.attempt, error=GenerationFailed()))
    assert client.post(f"{RESPONSES}/{canceled['id']}/cancel").status_code == 200
    with client.post(RESPONSES, json={"input": "a boat", "tools": [TOOL], "stream": True}) as streamed:
        assert streamed.status_code == 200
        cancel(client, client.get(JOBS).json["items"][0]["id"])
    assert events(database) == [
        ("response.completed", {"id": done["id"]}),
        ("response.failed", {"id": failed["id"]}),
        ("response.cancelled", {"id": canceled["id"]}),
    ]


@both_databases
@pytest.mark.parametrize("metadata", [1, [], {MARK: 5}, {MARK: {"background": "yes"}}, None])
def test_a_job_with_damaged_metadata_ends_without_such_an_event(client: ApiClient, database: Database, metadata: Any):
    create_endpoint(client, "https://shop.example", *KINDS, "job.canceled")
    job = client.post(JOBS, json={"prompt": "x", "metadata": {MARK: "mine"}}).json["id"]
    with database.write() as session:
        session.execute(update(Job).values(extra=metadata))
    with database.write() as session:
        ledger.cancel(session, Job.id == job)
    assert [kind for kind, _ in events(database)] == ["job.canceled"]
