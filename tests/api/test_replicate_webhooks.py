"""Webhooks of predictions: the official client asks for them and verifies what a real receiver gets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import replicate
from replicate.exceptions import ReplicateError
from replicate.prediction import Prediction
from sqlalchemy import update

from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.db.ledger import erasure
from limner_shared.db.tables import Job
from limner_shared.errors import GenerationFailed
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_bulks import rows
from tests.api.test_keys import make_key
from tests.api.test_replicate import CAT, NAMED
from tests.api.webhook_services import DELIVERIES, INTERNAL, SECRET, create_endpoint, delivering, served
from tests.processes import eventually
from tests.receivers import Receiver, Request, failure, receiver

__all__ = ["delivering"]
HOOK = "https://shop.example/hook"


@pytest.fixture
def app(make_app: Callable[..., App]) -> App:
    return make_app(webhook_internal_targets=INTERNAL)


@contextmanager
def replicate_client(app: App, key: str = "unused") -> Iterator[replicate.Client]:
    with served(app) as url:
        client = replicate.Client(api_token=key, base_url=f"{url}/replicate")
        try:
            yield client
        finally:
            client._client.close()


def ask(client: replicate.Client, shop: Receiver, events: list[str] | None = None) -> Prediction:
    """A prediction that the official client requests with a webhook."""
    only: Any = events  # None selects all; the client's own annotation does not say so
    return client.predictions.create(
        model="limner/limner-flow", input={"prompt": "a cat", "seed": 7}, webhook=shop.url, webhook_events_filter=only
    )


def verified(client: replicate.Client, request: Request) -> Prediction:
    """What arrived, once the official client has verified its signature."""
    secret = client.webhooks.default.secret()
    replicate.webhooks.validate(headers=request.headers, body=request.body.decode(), secret=secret, tolerance=300)
    return Prediction(**json.loads(request.body))


def test_a_webhook_gets_the_prediction_once_it_has_ended_with_pictures_that_need_no_key(
    app: App, client: ApiClient, delivering: Any
):
    with receiver() as shop, replicate_client(app) as official:
        asked = ask(official, shop)
        finish(app, start(app, asked.id), png("red"))
        eventually(lambda: client.get(DELIVERIES).json["items"][0]["state"] == "delivered")
        told, now = verified(official, shop.requests[0]), official.predictions.get(asked.id)
        assert [httpx.get(url, trust_env=False).content for url in told.output] == [png("red")]
    assert [urlsplit(str(url)).path.split("/")[1] for url in told.output] == ["images"], "the URL needs a key"
    assert len(shop.requests) == 1, "the start was told too, or the end twice"
    assert (told.id, told.status, told.input["seed"], told.progress.percentage) == (asked.id, "succeeded", 7, 1)
    for name in ("version", "model", "input", "logs", "metrics", "created_at", "completed_at", "urls"):
        assert getattr(told, name) == getattr(now, name), name


@pytest.mark.parametrize(
    ("events", "told"),
    [
        (["start"], ["processing"]),
        (["logs"], ["processing", "succeeded"]),
        (["output"], ["succeeded"]),
        (["completed"], ["succeeded"]),
        (["start", "output", "logs", "completed", "start"], ["processing", "succeeded"]),
    ],
)
def test_the_filter_chooses_which_events_are_sent(app: App, client: ApiClient, delivering: Any, events: Any, told: Any):
    with receiver() as shop, replicate_client(app) as official:
        claim = start(app, ask(official, shop, events).id)
        if "processing" in told:
            eventually(lambda: len(shop.requests) == 1)
        finish(app, claim, png("red"))
        eventually(lambda: len(shop.requests) == len(told))
        eventually(lambda: {each["state"] for each in client.get(DELIVERIES).json["items"]} == {"delivered"})
        assert [verified(official, request).status for request in shop.requests] == told


def test_a_failure_and_a_cancellation_are_reported_as_completed_but_are_no_output(
    app: App, client: ApiClient, delivering: Any
):
    with receiver() as shop, replicate_client(app) as official:
        for events in (["output"], ["completed"]):
            failed = ask(official, shop, events)
            claim = start(app, failed.id)
            with app.extensions["limner"].database.write() as session:
                ledger.fail(session, ledger.Result(claim.id, claim.attempt, error=GenerationFailed()))
        eventually(lambda: len(shop.requests) == 1)
        canceled = ask(official, shop)
        canceled.cancel()
        eventually(lambda: len(shop.requests) == 2)
        first, second = (verified(official, request) for request in shop.requests)
    assert (first.id, first.status, first.error.partition(":")[0]) == (failed.id, "failed", "generation_failed")
    assert (second.id, second.status, second.output) == (canceled.id, "canceled", None)


def test_an_endpoint_of_the_tenant_gets_the_native_event_beside_the_prediction(
    app: App, client: ApiClient, delivering: Any
):
    with receiver() as shop, receiver() as archive, replicate_client(app) as official:
        assert create_endpoint(client, archive.url).status_code == 201
        asked = ask(official, shop)
        asked.cancel()
        eventually(lambda: shop.requests and archive.requests)
        assert verified(official, shop.requests[0]).id == asked.id
    event = archive.requests[0].event
    assert (event["object"], event["type"], event["data"]["id"]) == ("event", "job.canceled", asked.id)
    assert archive.requests[0].headers["webhook-id"] != shop.requests[0].headers["webhook-id"]


def test_a_repeat_has_the_same_id_and_bytes_and_is_a_prediction_without_its_prompt_once_that_is_blanked(
    app: App, client: ApiClient, database: Database, delivering: Any
):
    def delivery():
        return client.get(DELIVERIES).json["items"][0]

    def repeat(count: int) -> None:
        eventually(lambda: delivery()["state"] == "pending")
        assert client.post(f"{DELIVERIES}/{delivery()['id']}/redeliver").status_code < 300
        eventually(lambda: len(shop.requests) == count)

    with receiver(lambda _request: failure(500)) as shop, replicate_client(app) as official:
        asked = ask(official, shop)
        asked.cancel()
        eventually(lambda: shop.requests)
        repeat(2)
        eventually(lambda: delivery()["state"] == "pending")
        with database.write() as session:
            erasure.blank(session, [asked.id])
        repeat(3)
        first, second, third = shop.requests
        assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
        assert "a cat" in first.body.decode()
        assert verified(official, third).id == asked.id
        assert "a cat" not in third.body.decode()


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"webhook": "http://shop.example/hook"}, "webhook"),
        ({"webhook": "https://127.0.0.2/hook"}, "webhook"),
        ({"webhook": "ftp://shop.example"}, "webhook"),
        ({"webhook": ""}, "webhook"),
        ({"webhook": f"https://shop.example/{'x' * 2100}"}, "webhook"),
        ({"webhook_events_filter": ["completed"]}, "webhook_events_filter"),
        ({"webhook": HOOK, "webhook_events_filter": []}, "webhook_events_filter"),
        ({"webhook": HOOK, "webhook_events_filter": ["job.started"]}, "webhook_events_filter"),
        ({"webhook": HOOK, "webhook_events_filter": "completed"}, "webhook_events_filter"),
    ],
)
def test_a_webhook_that_cannot_be_honoured_is_refused_by_name(
    client: ApiClient, app: App, fields: dict[str, Any], name: str
):
    answer = client.post(NAMED, json=CAT | fields)
    assert answer.status_code == 422, answer.text
    assert answer.json["detail"].startswith(name), answer.json["detail"]
    assert rows(app, Job) == 0


def test_the_secret_is_the_tenants_and_needs_the_scope_admin(make_app: Callable[..., App], database: Database):
    app = make_app(require_keys=True)
    client = app.test_client()
    path = "/replicate/v1/webhooks/default/secret"
    submitter, admin = make_key(database, "ours", "read", "submit"), make_key(database, "ours", "admin")
    assert client.get(path).status_code == 401
    assert client.get(path, headers=submitter).status_code == 403
    assert client.get(path, headers=admin).json == {"key": client.get(SECRET, headers=admin).json["secret"]}
    with replicate_client(app, submitter["Authorization"].partition(" ")[2]) as official:
        with pytest.raises(ReplicateError) as refused:
            official.webhooks.default.secret()
        assert refused.value.status == 403


def test_a_request_repeated_with_its_key_makes_one_job_and_another_webhook_is_a_conflict(client: ApiClient, app: App):
    headers = {"Idempotency-Key": "a key"}
    first, second = (client.post(NAMED, json=CAT | {"webhook": HOOK}, headers=headers) for _ in range(2))
    assert (second.status_code, second.json["id"]) == (201, first.json["id"])
    other = client.post(NAMED, json=CAT | {"webhook": f"{HOOK}/other"}, headers=headers)
    assert other.json["code"] == "idempotency_conflict"
    assert rows(app, Job) == 1


def test_the_retry_of_a_dead_letter_has_its_webhook(app: App, database: Database):
    client = app.test_client()
    asked = client.post(NAMED, json=CAT | {"webhook": HOOK, "webhook_events_filter": ["completed"]}).json
    with database.write() as session:
        session.execute(update(Job).values(state="failed", attempt=4, error_code="worker_lost", error_retryable=True))
    [retried] = client.post("/api/v1/jobs/retry", json={"jobs": [asked["id"]]}).json["jobs"]
    with database.read() as session:
        assert session.get_one(Job, retried).webhook == session.get_one(Job, asked["id"]).webhook
