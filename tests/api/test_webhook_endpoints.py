"""Webhook endpoints through OpenAI's own client: tests, limits, scopes and the audit log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from openai import BadRequestError, NotFoundError, OpenAI, PermissionDeniedError, UnprocessableEntityError
from sqlalchemy import select

from limner_shared.db.accounts import audit
from limner_shared.db.engine import Database
from limner_shared.db.webhook_tables import WebhookSecret
from limner_shared.db.webhooks import endpoints
from tests.api.clients import ApiClient, App
from tests.api.test_bulks import both_databases
from tests.api.test_keys import make_key
from tests.api.webhook_services import (
    DELIVERIES,
    ENDPOINTS,
    JOBS,
    SECRET,
    app,
    cancel,
    create_endpoint,
    delivering,
    served,
)
from tests.processes import eventually
from tests.receivers import Answer, receiver

__all__ = ["app", "delivering"]

COUNT = "X-Stainless-Retry-Count"


@contextmanager
def openai_client(app: App, key: str = "x") -> Iterator[OpenAI]:
    """OpenAI's own client of this application, over HTTP."""
    with served(app) as url, OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
        yield client


def kinds(*names: str) -> Any:
    """Our own event types for OpenAI's client, whose annotation lists only OpenAI's."""
    return list(names)


def test_the_openai_client_manages_endpoints_and_verifies_what_they_receive(app: App, delivering: None):
    with receiver() as shop, openai_client(app) as openai:
        assert "job.succeeded" in openai.webhooks.event_types.list().data
        made = openai.webhooks.create(name="shop", url=shop.url, event_types=kinds("job.canceled", "batch.completed"))
        assert made.signing_secret.startswith("whsec_")
        assert made.signing_secret_hint.endswith(made.signing_secret[-4:])
        changed = openai.webhooks.update(made.id, name="new name")
        assert (changed.name, changed.url) == ("new name", shop.url)
        assert openai.webhooks.retrieve(made.id).name == "new name"
        second = openai.webhooks.create(name="second", url="https://shop.example", event_types=kinds("bulk.completed"))
        assert [each.id for each in openai.webhooks.list(limit=1)] == [second.id, made.id]
        tested = openai.webhooks.test(made.id, event_type="batch.completed")
        assert (tested.status_code, tested.success) == (200, True)
        event: Any = openai.webhooks.unwrap(shop.requests[0].body, shop.requests[0].headers, secret=made.signing_secret)
        assert (event.type, event.data.id) == ("batch.completed", "test")
        rotated = openai.webhooks.rotate_secret(made.id, keep_old_secret_active_for_24_hours=True)
        assert rotated.signing_secret != made.signing_secret
        client = app.test_client()
        cancel(client, client.post(JOBS, json={"prompt": "x"}).json["id"])
        eventually(lambda: len(shop.requests) == 2)
        for secret in (made.signing_secret, rotated.signing_secret):
            openai.webhooks.verify_signature(shop.requests[1].body, shop.requests[1].headers, secret=secret)
        assert openai.webhooks.delete(second.id).deleted
        with pytest.raises(NotFoundError):
            openai.webhooks.retrieve(second.id)
        with pytest.raises(UnprocessableEntityError, match="https"):
            openai.webhooks.create(name="bad", url="http://shop.example", event_types=kinds("job.failed"))
        with pytest.raises((UnprocessableEntityError, BadRequestError), match=r"job\.succeeded"):
            openai.webhooks.create(name="bad", url="https://shop.example", event_types=["video.completed"])


def test_a_test_reports_what_the_endpoint_answers_even_while_its_circuit_breaker_is_open(
    client: ApiClient, delivering: None
):
    with receiver(lambda _request: Answer(418, b"a teapot")) as shop:
        made = create_endpoint(client, shop.url).json
        for job in [client.post(JOBS, json={"prompt": "x"}).json for _ in range(6)]:
            cancel(client, job["id"])
        answer = client.post(f"{ENDPOINTS}/{made['id']}/test", json={"event_type": "job.failed"})
        assert (answer.status_code, answer.json["status_code"]) == (200, 418)
    answer = client.post(f"{ENDPOINTS}/{made['id']}/test", json={"event_type": "job.failed"})
    assert (answer.status_code, answer.json["code"]) == (422, "webhook_unreachable")
    detail = client.get(f"{DELIVERIES}/{answer.json['delivery']}").json
    assert detail["tries"][0]["error"] == "connection_failed"
    eventually(lambda: client.get(f"{DELIVERIES}/{answer.json['delivery']}").json["state"] == "failed")


def test_a_test_without_a_dispatcher_is_refused_at_once_and_sends_nothing_later(client: ApiClient):
    made = create_endpoint(client, "https://shop.example").json
    answer = client.post(f"{ENDPOINTS}/{made['id']}/test", json={"event_type": "job.failed"})
    assert (answer.status_code, answer.json["code"]) == (422, "webhook_not_sent")
    assert client.get(DELIVERIES).json["items"] == []


@pytest.mark.parametrize("field", ["overlap_seconds", "keep_old_secret_active_for_24_hours"])
def test_a_secret_is_not_rotated_for_a_value_of_another_type(client: ApiClient, field: str):
    made = create_endpoint(client, "https://shop.example").json
    assert client.post(f"{ENDPOINTS}/{made['id']}/rotate_secret", json={field: "yes"}).status_code == 422
    kept = client.get(f"{ENDPOINTS}/{made['id']}").json["signing_secret_hint"]
    assert kept == made["signing_secret_hint"]


@pytest.mark.parametrize(
    "change",
    [
        {"url": "http://shop.example"},
        {"url": "https://192.168.0.1"},
        {"event_types": []},
        {"event_types": ["job.exploded"]},
        {"name": ""},
        {"name": "x" * 101},
        {"secret": "mine"},
        {"url": None},
    ],
)
def test_a_bad_endpoint_is_refused(client: ApiClient, change: dict[str, Any]):
    refused = create_endpoint(client, "https://shop.example", change=change)
    assert (refused.status_code, refused.json["code"]) == (422, "invalid_request")
    assert client.get(ENDPOINTS).json["data"] == []


def test_a_tenant_has_a_limited_number_of_endpoints(client: ApiClient):
    for _ in range(20):
        assert create_endpoint(client, "https://shop.example").status_code == 201
    assert "20" in create_endpoint(client, "https://shop.example").json["detail"]


def test_endpoints_and_secrets_need_the_scope_admin_and_deliveries_those_of_jobs(
    make_app: Callable[..., App], database: Database
):
    app = make_app(require_keys=True)
    client = app.test_client()
    admin, reads, submits = (make_key(database, "ours", scope) for scope in ("admin", "read", "submit"))
    body = {"name": "x", "url": "https://shop.example", "event_types": ["job.failed"]}
    for headers in (reads, submits):
        for answer in (
            client.post(ENDPOINTS, json=body, headers=headers),
            client.get(ENDPOINTS, headers=headers),
            client.get(SECRET, headers=headers),
        ):
            assert (answer.status_code, answer.json["code"]) == (403, "admin_scope_required")
    assert client.post(ENDPOINTS, json=body, headers=admin).status_code == 201
    assert client.get(DELIVERIES, headers=reads).status_code == 200
    assert client.get(DELIVERIES, headers=submits).json["code"] == "read_scope_required"
    since = {"since": "2026-01-01T00:00:00Z"}
    refused = client.post(f"{DELIVERIES}/redeliver", json=since, headers=reads)
    assert refused.json["code"] == "submit_scope_required"
    with openai_client(app, reads["Authorization"].split()[1]) as openai, pytest.raises(PermissionDeniedError):
        openai.webhooks.list()


def test_another_tenant_sees_and_changes_nothing(make_app: Callable[..., App], database: Database):
    client = make_app(require_keys=True).test_client()
    ours, theirs = make_key(database, "ours", "admin"), make_key(database, "theirs", "admin")
    body = {"name": "x", "url": "https://shop.example", "event_types": ["job.canceled"]}
    made = client.post(ENDPOINTS, json=body, headers=ours).json
    job = client.post(JOBS, json={"prompt": "x"}, headers=ours).json
    client.post(f"{JOBS}/{job['id']}/cancel", headers=ours)
    [delivery] = client.get(DELIVERIES, headers=ours).json["items"]
    assert delivery["endpoint"] == made["id"]
    one = f"{ENDPOINTS}/{made['id']}"
    for answer in (
        client.get(one, headers=theirs),
        client.post(one, json={"name": "mine"}, headers=theirs),
        client.delete(one, headers=theirs),
        client.post(f"{one}/rotate_secret", json={}, headers=theirs),
        client.post(f"{one}/test", json={"event_type": "job.failed"}, headers=theirs),
        client.get(f"{DELIVERIES}/{delivery['id']}", headers=theirs),
        client.post(f"{DELIVERIES}/{delivery['id']}/redeliver", headers=theirs),
    ):
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")
    assert client.get(ENDPOINTS, headers=theirs).json["data"] == []
    assert client.get(DELIVERIES, headers=theirs).json["items"] == []
    assert client.get(f"{DELIVERIES}?endpoint={made['id']}", headers=theirs).json["items"] == []
    secrets = {client.get(SECRET, headers=headers).json["secret"] for headers in (ours, theirs)}
    assert len(secrets) == 2


def test_every_change_is_in_the_audit_log_without_secrets(client: ApiClient, database: Database):
    made = create_endpoint(client, "https://shop.example").json
    one = f"{ENDPOINTS}/{made['id']}"
    client.post(one, json={"name": "new"})
    client.post(one, json={"name": "new"})  # changes nothing
    secrets = [made["signing_secret"], client.post(f"{one}/rotate_secret", json={}).json["signing_secret"]]
    secrets.append(client.post(f"{SECRET}/rotate", json={}).json["secret"])
    client.delete(one)
    with database.read() as session:
        entries = [entry for entry, _ in audit.newest_entries(session, 9)][::-1]
    assert [(entry.action, entry.subject) for entry in entries] == [
        ("webhook_created", made["id"]),
        ("webhook_changed", made["id"]),
        ("webhook_rotated", made["id"]),
        ("webhook_rotated", "tenant_local"),
        ("webhook_deleted", made["id"]),
    ]
    assert not any(secret in str(entry.detail) for secret in secrets for entry in entries)


def test_a_secret_is_shown_only_when_it_is_made(client: ApiClient):
    made = create_endpoint(client, "https://shop.example").json
    for answer in (client.get(ENDPOINTS), client.get(f"{ENDPOINTS}/{made['id']}")):
        assert made["signing_secret"] not in answer.text
        assert made["signing_secret"][-4:] in answer.text


@pytest.mark.parametrize(("first", "again"), [({COUNT: "0"}, {COUNT: "1"}), ({"Idempotency-Key": "k"},) * 2])
def test_a_repeated_request_makes_one_endpoint_and_rotates_a_secret_once(
    client: ApiClient, first: dict[str, str], again: dict[str, str]
):
    def secret(path: str, body: dict[str, Any], headers: dict[str, str]) -> str:
        answer = client.post(path, json=body, headers={name: f"{value}{key}" for name, value in headers.items()})
        assert answer.status_code in (200, 201), answer.text
        return answer.json.get("signing_secret") or answer.json["secret"]

    key = ""
    body = {"name": "shop", "url": "https://shop.example", "event_types": ["job.failed"]}
    secrets = [secret(ENDPOINTS, body, headers) for headers in (first, again)]
    [made] = client.get(ENDPOINTS).json["data"]
    for path in (f"{ENDPOINTS}/{made['id']}/rotate_secret", "/api/v1/webhook_secret/rotate"):
        key = "" if COUNT in first else path[-20:]
        secrets += [secret(path, {"overlap_seconds": 60}, headers) for headers in (first, again)]
    assert secrets[::2] == secrets[1::2]
    assert len(set(secrets)) == 3
    assert secret(path, {"overlap_seconds": 60}, {COUNT: "0"} if COUNT in first else {}) not in secrets


@both_databases
@pytest.mark.parametrize(
    ("path", "body"), [("", {"name": "another"}), ("/rotate_secret", {"overlap_seconds": 5})], ids=["change", "rotate"]
)
def test_an_endpoint_that_is_deleted_during_a_change_of_it_is_not_found(
    app: App, path: str, body: dict[str, Any], database: Database
):
    for number in range(6):
        new = {"name": f"{number}", "url": "https://shop.example", "event_types": ["job.failed"]}
        url = f"{ENDPOINTS}/{app.test_client().post(ENDPOINTS, json=new).json['id']}"

        def send(count: int, url: str = url) -> int:
            client = app.test_client()
            return (client.delete(url) if count == 2 else client.post(url + path, json=body)).status_code

        with ThreadPoolExecutor(5) as pool:
            assert set(pool.map(send, range(5))) <= {200, 404, 410}
    with database.read() as session:
        assert session.scalars(select(WebhookSecret.owner_id)).all() == []


@both_databases
def test_endpoints_that_are_created_at_once_do_not_exceed_the_limit_together(app: App, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(endpoints, "MAX_ENDPOINTS", 3)

    def create(number: int) -> int:
        body = {"name": f"{number}", "url": "https://shop.example", "event_types": ["job.failed"]}
        return app.test_client().post(ENDPOINTS, json=body).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(create, range(10))) == [201] * 3 + [422] * 7
