"""Webhooks in the API: of jobs and bulks, endpoints through OpenAI's own client, deliveries and repeats."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner
from openai import BadRequestError, NotFoundError, OpenAI, PermissionDeniedError, UnprocessableEntityError
from sqlalchemy import select, update
from standardwebhooks import Webhook
from werkzeug.serving import make_server

from limner_client.cli.main import cli
from limner_dispatcher.dispatcher import ends_pass
from limner_dispatcher.duties import Isolation
from limner_dispatcher.leadership import Leadership
from limner_dispatcher.webhooks.deliveries import DUTY, Deliveries
from limner_shared.db.accounts import audit
from limner_shared.db.engine import Database, now
from limner_shared.db.tables import Bulk, Job
from limner_shared.db.webhook_tables import WebhookAttempt, WebhookDelivery
from limner_shared.domain.cards import Catalogue
from limner_shared.settings import Settings
from limner_shared.threads import Supervisor
from tests.api.clients import ApiClient, App
from tests.api.test_keys import make_key
from tests.processes import eventually
from tests.receivers import Answer, failure, receiver

JOBS, BULKS = "/api/v1/jobs", "/api/v1/bulks"
ENDPOINTS, DELIVERIES, SECRET = "/api/v1/webhook_endpoints", "/api/v1/webhook_deliveries", "/api/v1/webhook_secret"
INTERNAL = ("127.0.0.1",)


@pytest.fixture
def app(make_app: Callable[..., App]) -> App:
    return make_app(webhook_internal_targets=INTERNAL)


@pytest.fixture
def delivering(settings: Settings, database: Database, catalogue: Catalogue) -> Iterator[None]:
    """A dispatcher's delivery duty on a thread."""
    changed = settings.model_copy(update={"webhook_internal_targets": INTERNAL, "webhook_timeout_seconds": 5.0})
    leadership = Leadership(database, DUTY, "a test")
    duty = Deliveries(changed, database, leadership, Isolation(ends_pass), Supervisor(), catalogue)
    ended = threading.Event()

    def run() -> None:
        while not ended.is_set():
            with leadership.write():
                pass  # as a whole dispatcher does for its other duties
            duty.wait(min(0.05, duty.round()))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    eventually(lambda: leadership.leads)
    yield
    ended.set()
    thread.join(10)
    duty.close()


@contextmanager
def served(app: App) -> Iterator[str]:
    """Serve this application over HTTP; yields its URL."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@contextmanager
def openai_client(app: App, key: str = "x") -> Iterator[OpenAI]:
    """OpenAI's own client of this application, over HTTP."""
    with served(app) as url, OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
        yield client


def create_endpoint(client: ApiClient, url: str, *types: str, change: dict[str, Any] | None = None):
    body = {"name": "shop", "url": url, "event_types": types or ["job.canceled"]}
    return client.post(ENDPOINTS, json=body | (change or {}))


def cancel(client: ApiClient, job_id: str) -> None:
    assert client.post(f"{JOBS}/{job_id}/cancel").status_code == 200


# --- jobs and bulks --------------------------------------------------------------------------------------------------


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
        duty = Deliveries(changed, database, leadership, Isolation(ends_pass), Supervisor(), catalogue)
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


def test_a_bulk_tells_its_end_and_each_of_its_lines_its_own(client: ApiClient, database: Database, delivering: None):
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


# --- endpoints -------------------------------------------------------------------------------------------------------


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


# --- deliveries ------------------------------------------------------------------------------------------------------


def test_deliveries_are_listed_filtered_and_paged(client: ApiClient, database: Database):
    made = create_endpoint(client, "https://shop.example/x").json
    for number in range(5):
        body = {"prompt": "x"} | ({"webhook": "https://other.example/y"} if number == 0 else {})
        cancel(client, client.post(JOBS, json=body).json["id"])
    with database.write() as session:
        oldest = session.scalars(select(WebhookDelivery.id).order_by(WebhookDelivery.id)).first()
        session.execute(update(WebhookDelivery).where(WebhookDelivery.id == oldest).values(state="failed"))
    first = client.get(f"{DELIVERIES}?limit=4").json
    assert len(first["items"]) == 4
    rest = client.get(f"{DELIVERIES}?limit=4&cursor={first['next']}").json
    ids = [each["id"] for each in first["items"] + rest["items"]]
    assert len(ids) == 6
    assert ids == sorted(ids, reverse=True)
    assert rest["next"] is None

    def found(query: str) -> int:
        return len(client.get(f"{DELIVERIES}?{query}").json["items"])

    assert found(f"endpoint={made['id']}") == 5
    assert found("state=failed") == 1
    assert found("state=delivered") == 0
    hour = timedelta(hours=1)
    ago, ahead = ((datetime.now(UTC) + shift).strftime("%Y-%m-%dT%H:%M:%SZ") for shift in (-hour, hour))
    assert found(f"since={ago}&until={ahead}&endpoint={made['id']}&state=pending") + found("state=failed") >= 5
    assert found(f"until={ago}") == found(f"since={ahead}") == 0
    assert client.get(f"{DELIVERIES}?since=yesterday").status_code == 422
    assert client.get(f"{DELIVERIES}?since=0001-01-01T00:00:00Z&until=9999-12-31T23:59:59Z").status_code == 200


def test_a_delivery_shows_its_request_and_each_answer_and_is_repeated(
    client: ApiClient, database: Database, delivering: None
):
    answers = iter([failure(500, b"broken"), Answer(200, b"fine")])
    with receiver(lambda _request: next(answers)) as shop:
        cancel(client, client.post(JOBS, json={"prompt": "x", "webhook": shop.url}).json["id"])

        def first() -> dict[str, Any]:
            return client.get(DELIVERIES).json["items"][0]

        eventually(lambda: first()["attempts"] == 1 and first()["state"] == "pending")
        repeated = client.post(f"{DELIVERIES}/{first()['id']}/redeliver")
        assert repeated.status_code == 202
        eventually(lambda: first()["state"] == "delivered")
    detail = client.get(f"{DELIVERIES}/{first()['id']}").json
    assert [(each["number"], each["status"], each["answer"], each["error"]) for each in detail["tries"]] == [
        (1, 500, "broken", "status"),
        (2, 200, "fine", None),
    ]
    assert detail["body"].encode() == shop.requests[0].body == shop.requests[1].body
    assert detail["tries"][0]["request_headers"]["webhook-id"] == detail["event"]
    assert detail["url"] == shop.url


def test_failed_deliveries_of_a_time_range_are_repeated_in_parts(
    client: ApiClient, database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("limner_web.api.webhook_deliveries.MAX_REDELIVERED", 2)
    for _ in range(5):
        cancel(client, client.post(JOBS, json={"prompt": "x", "webhook": "https://shop.example"}).json["id"])
    with database.write() as session:
        session.execute(update(WebhookDelivery).values(state="failed", ended_at=now(), tries=9))
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    counts, cursor = [], None
    while True:
        body = {"since": since} | ({"cursor": cursor} if cursor else {})
        answer = client.post(f"{DELIVERIES}/redeliver", json=body).json
        counts.append(answer["count"])
        cursor = answer["next"]
        if cursor is None:
            break
    assert counts == [2, 2, 1]
    with database.read() as session:
        found = session.execute(select(WebhookDelivery.state, WebhookDelivery.tries, WebhookDelivery.ended_at)).all()
    assert {tuple(row) for row in found} == {("pending", 0, None)}


def test_a_delivery_that_is_being_sent_is_not_repeated(client: ApiClient, database: Database):
    cancel(client, client.post(JOBS, json={"prompt": "x", "webhook": "https://shop.example"}).json["id"])
    with database.write() as session:
        session.execute(update(WebhookDelivery).values(state="sending"))
        assert session.scalars(select(WebhookAttempt)).all() == []
    delivery = client.get(DELIVERIES).json["items"][0]["id"]
    answer = client.post(f"{DELIVERIES}/{delivery}/redeliver")
    assert (answer.status_code, answer.json["code"]) == (409, "invalid_state")
    assert client.post(f"{DELIVERIES}/whd_none/redeliver").status_code == 404


# --- the command line ------------------------------------------------------------------------------------------------


def test_the_command_manages_endpoints_and_repeats_deliveries(app: App, client: ApiClient, delivering: None):
    answers = iter([Answer(200), failure(500, b"[broken]"), *[Answer(200)] * 9])
    with receiver(lambda _request: next(answers)) as shop, served(app) as url:

        def limner(*words: str, code: int = 0) -> str:
            result = CliRunner(env={"COLUMNS": "300"}).invoke(cli, ["webhooks", *words, "--server", url])
            assert result.exit_code == code, result.output
            # The server of this test logs from its own thread into the same output.
            return "\n".join(line for line in result.output.splitlines() if not re.match(r"20\d\d-|127\.", line))

        endpoint, secret = limner("create", shop.url, "--event", "job.canceled").split()
        assert endpoint in limner("list")
        assert limner("test", endpoint).strip() == "200"
        Webhook(secret).verify(shop.requests[0].body, shop.requests[0].headers)
        assert limner("rotate", endpoint, "--overlap", "0").strip() not in ("", secret)
        assert limner("secret").startswith("whsec_")
        assert limner("rotate").strip() == limner("secret").strip()
        job = client.post(JOBS, json={"prompt": "a red apple"}).json["id"]
        cancel(client, job)
        delivery = client.get(DELIVERIES).json["items"][0]["id"]
        eventually(lambda: client.get(f"{DELIVERIES}/{delivery}").json["tries"])
        shown = limner("show", delivery)
        assert "a red apple" in shown
        assert "[broken]" in shown
        assert delivery in limner("deliveries", "--since", "2026-01-01", "--endpoint", endpoint)
        limner("redeliver", delivery)
        eventually(lambda: client.get(f"{DELIVERIES}/{delivery}").json["state"] == "delivered")
        assert "2 deliveries" in limner("redeliver", "--since", "2026-01-01", "--state", "delivered")
        eventually(lambda: len(shop.requests) == 5)
        limner("redeliver", code=2)
        limner("redeliver", "--since", "soon", code=2)
        limner("delete", endpoint)
        assert endpoint not in limner("list")
