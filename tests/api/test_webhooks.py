"""Webhooks of jobs and bulks."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select
from standardwebhooks import Webhook

from limner_dispatcher.dispatcher import ends_pass
from limner_dispatcher.item_runner import ItemRunner
from limner_dispatcher.leadership import Leadership
from limner_dispatcher.webhooks.deliveries import DUTY, Deliveries
from limner_shared.db.engine import Database
from limner_shared.db.tables import Bulk, Job
from limner_shared.domain.catalogue import Catalogue
from limner_shared.settings import Settings
from limner_shared.threads import Supervisor
from tests.api.clients import ApiClient, App
from tests.api.webhook_services import BULKS, INTERNAL, JOBS, SECRET, app, cancel, delivering
from tests.processes import eventually
from tests.receivers import receiver

__all__ = ["app", "delivering"]


def test_a_webhook_is_delivered_once_the_job_ends(client: ApiClient, delivering: None):
    with receiver() as shop:
        job = client.post(JOBS, json={"prompt": "x", "webhook": shop.url, "metadata": {"mine": 7}}).json
        cancel(client, job["id"])
        eventually(lambda: shop.requests)
        [request] = shop.requests
    Webhook(client.get(SECRET).json["secret"]).verify(request.body, request.headers)
    view = client.get(f"{JOBS}/{job['id']}").json
    assert request.event == {
        "id": request.headers["webhook-id"],
        "object": "event",
        "type": "job.canceled",
        "created_at": request.event["created_at"],
        "data": view,
    }


def test_urls_are_complete_if_the_service_knows_its_address(
    make_app: Callable[..., App], settings: Settings, database: Database, catalogue: Catalogue
):
    app = make_app(webhook_internal_targets=INTERNAL, public_url="https://pictures.example")
    changed = settings.model_copy(
        update={"webhook_internal_targets": INTERNAL, "public_url": "https://pictures.example"}
    )
    client = app.test_client()
    headers = {"Host": "pictures.example"}
    with receiver() as shop:
        job = client.post(JOBS, json={"prompt": "x", "webhook": shop.url}, headers=headers).json
        client.post(f"{JOBS}/{job['id']}/cancel", headers=headers)
        leadership = Leadership(database, DUTY, "me")
        duty = Deliveries(changed, database, leadership, ItemRunner(ends_pass), Supervisor(), catalogue)
        duty.round()
        duty.close()
    assert shop.requests[0].event["data"]["links"]["self"] == f"https://pictures.example{JOBS}/{job['id']}"


def test_the_filter_chooses_the_events(client: ApiClient, database: Database):
    for events, stored in (
        (None, ["job.succeeded", "job.failed", "job.canceled"]),
        (["job.started", "job.started"], ["job.started"]),
    ):
        body = {"prompt": "x", "webhook": "https://shop.example/x", "webhook_events_filter": events}
        job = client.post(JOBS, json={name: value for name, value in body.items() if value is not None}).json
        with database.read() as session:
            assert session.get_one(Job, job["id"]).webhook == {"url": "https://shop.example/x", "events": stored}


@pytest.mark.parametrize(
    "body",
    [
        {"webhook": "http://shop.example"},
        {"webhook": "https://10.0.0.1/x"},
        {"webhook": "https://[::ffff:169.254.169.254]/"},
        {"webhook": "not a url"},
        {"webhook": ""},
        {"webhook": "https://user:word@shop.example"},
        {"webhook": "https://shop.example", "webhook_events_filter": ["job.exploded"]},
        {"webhook": "https://shop.example", "webhook_events_filter": []},
        {"webhook": "https://shop.example", "webhook_events_filter": ["bulk.completed"]},
        {"webhook_events_filter": ["job.failed"]},
    ],
)
def test_a_bad_webhook_is_refused_and_queues_nothing(client: ApiClient, body: dict[str, Any]):
    answer = client.post(JOBS, json={"prompt": "x"} | body)
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_request")
    assert "webhook" in answer.json["detail"]
    assert client.get(JOBS).json["items"] == []
    line = json.dumps({"prompt": "x"} | body)
    refused = client.post(BULKS, data=line, headers={"Content-Type": "application/x-ndjson"})
    assert (refused.status_code, refused.json["code"]) == (422, "invalid_bulk")


def test_the_ends_of_a_bulk_and_of_each_of_its_lines_are_reported(
    client: ApiClient, database: Database, delivering: None
):
    headers = {"Content-Type": "application/x-ndjson"}
    with receiver() as shop:
        lines = "\n".join(json.dumps({"prompt": "x"} | more) for more in ({}, {"webhook": f"{shop.url}/line"}))
        bulk = client.post(f"{BULKS}?webhook={shop.url}/bulk", data=lines, headers=headers).json
        for job in client.get(f"{JOBS}?bulk={bulk['id']}").json["items"]:
            cancel(client, job["id"])
        eventually(lambda: len(shop.requests) == 2)
        told = {(request.path, request.event["type"]) for request in shop.requests}
        assert told == {("/hook/bulk", "bulk.completed"), ("/hook/line", "job.canceled")}
        [end] = [request.event["data"] for request in shop.requests if request.path == "/hook/bulk"]
        assert end == client.get(f"{BULKS}/{bulk['id']}").json
    with database.read() as session:
        assert session.scalars(select(Bulk.webhook)).one()["events"] == ["bulk.completed", "bulk.canceled"]


@pytest.mark.parametrize(
    "query",
    [
        "webhook=http://shop.example",
        "webhook=https://127.0.0.2/x",
        "webhook_events_filter=bulk.completed",
        "webhook=https://shop.example&webhook_events_filter=job.failed",
    ],
)
def test_a_bad_webhook_of_a_bulk_is_refused(client: ApiClient, query: str):
    answer = client.post(f"{BULKS}?{query}", data='{"prompt": "x"}', headers={"Content-Type": "application/x-ndjson"})
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_request")
    assert client.get(BULKS).json["items"] == []
