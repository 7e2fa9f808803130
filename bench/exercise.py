"""The operations that query the database: every route of the web process, and what workers, the dispatcher and
operators do (`process_operations`). `visit` calls all routes, and the test of the statements fails for one that is left
out.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

import httpx
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text, update

from bench.process_operations import LONG, look_around, operate, pause, sweep, work
from bench.stand_in import StandIn
from bench.tour import Tour, noise
from bench.tour_doors import every_route
from limner_dispatcher.dispatcher import Dispatcher
from limner_dispatcher.retention import Retention
from limner_shared.db import batches, ledger
from limner_shared.db.accounts import keys
from limner_shared.db.batch_tables import Batch
from limner_shared.db.tables import SCHEDULED, Job, Tenant
from limner_shared.domain.access import Scope
from limner_shared.domain.jobs import JobRequest, JobState
from limner_shared.domain.webhooks import DeliveryState
from limner_web.openai.batch_loader import BatchLoader

JOBS, BULKS, TALKS = "/api/v1/jobs", "/api/v1/bulks", "/api/v1/conversations"
USAGE, PAUSES = "/api/v1/usage", "/api/v1/pauses"
MODEL: Final = "canvas"
"""A model that takes pictures, from `tests/models`."""


def clean(app: Flask, **keep: float) -> None:
    """Run the cleaner once with the retention `keep`, in days."""
    held = app.extensions["limner"]
    with held.database.write() as session:
        session.execute(update(Tenant).values(keep))
    Retention(held.database, held.blobs, -1.0).run()


def exercise(app: Flask, dispatcher: Dispatcher) -> set[str]:
    """Run every operation once or a few times; the cleaner with nothing due and with everything due.

    The service needs the model MODEL. Returns the endpoints that have accepted a call with a body that is valid.
    """
    held = app.extensions["limner"]
    card, spec = held.catalogue.resolve(JobRequest(prompt="a red apple", seed=1))
    with held.database.write() as session:
        session.execute(
            update(Tenant).values(max_queued=LONG, max_running=LONG, cost_per_day=10**12, share_results=True)
        )
    visited = visit(app)
    ask(app.test_client())
    batch(app)
    notify(app, dispatcher)
    look_around(dispatcher)
    work(held.database, spec, card.name)
    with held.database.write() as session:
        session.execute(update(Job).where(text(SCHEDULED)).values(not_before=1.0))
    look_around(dispatcher)
    sweep(held.database, card.name)
    pause(held.database, card.name, dispatcher)
    operate(held.database)
    clean(app, keep_images_days=LONG, keep_prompts_days=LONG, keep_jobs_days=LONG)
    clean(app, keep_images_days=1, keep_prompts_days=1, keep_jobs_days=LONG)
    clean(app, keep_images_days=1, keep_prompts_days=1, keep_jobs_days=1)
    return visited


def visit(app: Flask) -> set[str]:
    """Call every route; returns the endpoints that have accepted a call."""
    held = app.extensions["limner"]
    loader, picture = BatchLoader(held), noise(64)
    with held.database.write() as session:
        key = keys.create(session, ledger.LOCAL_NAME, "bench", scopes=tuple(Scope))
    models, also = [MODEL, held.catalogue.default], (loader.load_next, loader.finish_next)
    stand_in = StandIn(held.database, held.blobs, held.hints, picture, models, also)
    transport = httpx.WSGITransport(app)
    with stand_in.working(), httpx.Client(transport=transport, base_url="http://localhost") as client:
        tour = Tour(client, app.url_map, stand_in, MODEL, key, picture)
        every_route(tour)
    return tour.called


def ask(client: FlaskClient) -> None:
    """Call the routes that have filters and states, in each of them."""

    def call(path: str, method: str = "GET", **more: Any) -> Any:
        answer = client.open(path, method=method, **more)
        if answer.status_code >= HTTPStatus.BAD_REQUEST:
            raise RuntimeError(f"{method} {path}: {answer.text}")
        return answer.json if answer.is_json and answer.data else answer.data

    model = next(each["name"] for each in call("/api/v1/models")["items"] if each["default"])
    job = call(JOBS, "POST", json={"prompt": "x"}, headers={"Idempotency-Key": "k"})
    call(JOBS, "POST", json={"prompt": "x", "expires_in": 9}, headers={"X-Stainless-Retry-Count": "1"})
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    for scope in ("tenant", "model", "tenant"):
        call(JOBS, "POST", json={"prompt": "x", "unique": {"key": "u", "scope": scope, "seconds": 9}})
    later = call(JOBS, "POST", json={"prompt": "x", "not_before": tomorrow, "max_retries": 1})
    call(later["links"]["self"])
    filters = ["", "bulk=bulk_0001", f"bulk=bulk_0001&model={model}", "dead=true", f"model={model}", "model=none"]
    filters += ["q=apple", "q=appl&status=failed", "q=nothing", "style=noto", "q=x&tag=mine&favourite=true", "tag=mine"]
    filters += ["favourite=true", "conversation=conv_1", "created_after=2026-01-01T00:00:00Z&q=x"]
    filters += ["created_before=2026-01-01T00:00:00Z", "created_after=2026-01-01T00:00:00Z&model=none"]
    filters += [f"state={state}" for state in JobState] + [f"state={state}&model={model}" for state in JobState]
    for each in [*filters, *[f"{each}&status=running" for each in filters if "status" not in each]]:
        page = call(f"{JOBS}?{each}&limit=2")
        if page["next"]:
            call(f"{JOBS}?{each}&limit=2&cursor={page['next']}")
    old = call(f"{JOBS}?status=succeeded&limit=1")["items"][0]
    for path in (job["links"]["self"], f"{old['links']['self']}/receipts"):
        call(path)
    client.get(old["images"][0]["url"])  # its bytes are missing
    client.get(call(f"{old['images'][0]['url']}/link")["url"])
    call(f"/api/v1/images?similar_to={old['images'][0]['id']}&limit=2&tag=mine&favourite=true")
    call(f"/api/v1/images?similar_to={old['images'][0]['id']}&limit=2&model={model}&conversation=conv_1")
    call(f"{old['links']['self']}/replay", "POST")
    call(f"{JOBS}/retry", "POST", json={})
    call(f"{job['links']['self']}/explain")
    call(f"{JOBS}?ids={job['id']},{old['id']}&wait=1")
    call(job["links"]["cancel"], "POST")
    for path in (old["links"]["self"], old["images"][0]["url"]):
        for method in ("PUT", "DELETE"):
            call(f"{path}/favourite", method)
            call(f"{path}/tags/mine", method)
    call(old["images"][0]["url"], "DELETE")
    call(old["links"]["self"], "DELETE")
    _ask_of_bulks(call)
    talk = call(TALKS, "POST", json={"message": "a red car"})
    turn = call(talk["links"]["messages"], "POST", json={"message": "bluer"})
    call(f"{talk['links']['self']}/turns/{turn['id']}", "PUT", json={"message": "greener"})
    _pause(call, model, job)
    for path in (TALKS, f"{TALKS}?limit=1&cursor={talk['id']}", talk["links"]["self"], "/readyz", USAGE):
        call(path)
    call(talk["links"]["self"], "DELETE")


def batch(app: Flask) -> None:
    """Carry batches of OpenAI's API through all their states, and read the output of one."""
    client, loader = app.test_client(), BatchLoader(app.extensions["limner"])

    def call(path: str, body: dict[str, Any] | None = None, **more: Any) -> Any:
        answer = client.open(f"/v1/{path}", method="GET" if body is None and not more else "POST", json=body, **more)
        if answer.status_code >= HTTPStatus.BAD_REQUEST:
            raise RuntimeError(f"{path}: {answer.text}")
        return answer.json if answer.is_json else answer.data

    def create(url: str) -> str:
        line = {"custom_id": "a", "method": "POST", "url": url, "body": {"prompt": "x"}}
        form = {"purpose": "batch", "file": (io.BytesIO(json.dumps(line).encode()), "a")}
        file = call("files", data=form, content_type="multipart/form-data")["id"]
        body = {"input_file_id": file, "endpoint": "/v1/images/generations", "completion_window": "24h"}
        return f"batches/{call('batches', body)['id']}"

    good, late, _ = (create(url) for url in ("/v1/images/generations", "/v1/images/generations", "/nothing"))
    for _ in range(3):
        loader.load_next()
    for path in ("batches", f"batches?limit=1&after={good.partition('/')[2]}", good):
        call(path)
    call(f"{good}/cancel", {})
    with app.extensions["limner"].database.write() as session:
        session.execute(update(Batch).where(Batch.id == late.partition("/")[2]).values(expires_at=1.0))
    loader.finish_next()
    call(f"files/{call(good)['error_file_id']}/content")
    with app.extensions["limner"].database.write() as session:
        batches.forget_batches(session, 100, -1.0)


def notify(app: Flask, dispatcher: Dispatcher) -> None:
    """Call every route about webhooks, and deliver some: to a name that does not exist."""
    client, url = app.test_client(), "https://nothing.invalid/x"

    def call(path: str, method: str = "GET", body: dict[str, Any] | None = None) -> Any:
        answer = client.open(f"/api/v1/{path}", method=method, json=body)
        if answer.status_code >= HTTPStatus.BAD_REQUEST:
            raise RuntimeError(f"{method} {path}: {answer.text}")
        return answer.json

    fields = {"name": "x", "url": url, "event_types": ["job.canceled"]}
    ids = [call("webhook_endpoints", "POST", fields)["id"] for _ in range(2)]
    for query in ("", "?limit=1", f"?after={ids[1]}", f"/{ids[0]}"):
        call(f"webhook_endpoints{query}")
    call(f"webhook_endpoints/{ids[0]}", "POST", {"name": "y"})
    call(f"webhook_endpoints/{ids[0]}/rotate_secret", "POST", {})
    call("webhook_secret")
    call("webhook_secret/rotate", "POST", {})
    for _ in range(2):
        job = call("jobs", "POST", {"prompt": "x", "webhook": url})
        call(f"jobs/{job['id']}/cancel", "POST")
    call(f"webhook_endpoints/{ids[1]}", "DELETE")
    states, since = ["", *(f"state={state}" for state in DeliveryState)], "since=2026-01-01T00:00:00Z"
    for filters in [f"{each}&{more}" for each in states for more in ("", "endpoint=we_0", since)]:
        page = call(f"webhook_deliveries?limit=2&{filters.strip('&')}")
        if page["next"]:
            call(f"webhook_deliveries?limit=2&{filters.strip('&')}&cursor={page['next']}")
    newest = next(each["id"] for each in call("webhook_deliveries?limit=9")["items"] if each["endpoint"] is None)
    call(f"webhook_deliveries/{newest}")
    call(f"webhook_deliveries/{newest}/redeliver", "POST")
    call("webhook_deliveries/redeliver", "POST", {"since": "2026-01-01T00:00:00Z", "endpoint": ids[0]})
    call("webhook_deliveries/redeliver", "POST", {"since": "2026-01-01T00:00:00Z"})
    deadline = time.monotonic() + 30
    while not call(f"webhook_deliveries/{newest}")["tries"]:
        if time.monotonic() > deadline:
            raise RuntimeError("the delivery was not tried")
        dispatcher.deliver()
        time.sleep(0.05)


def _pause(call: Callable[..., Any], model: str, job: dict[str, Any]) -> None:
    for subject in ({"model": model}, {"tenant": "other"}):
        paused = call(PAUSES, "POST", json=subject)
        call(JOBS, "POST", json={"prompt": "x"})
        for path in (job["links"]["self"], PAUSES, "/api/v1/models"):
            call(path)
        call(f"{PAUSES}/{paused['id']}", "DELETE")


def _ask_of_bulks(call: Callable[..., Any]) -> None:
    lines = "".join(json.dumps({"prompt": f"x {n}", "unique": {"key": f"u{n % 9}"}}) + "\n" for n in range(20))
    headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": "b"}
    bulk = f"{BULKS}/{call(BULKS, 'POST', data=lines, headers=headers)['id']}"
    for verb in ("pause", "resume"):
        call(f"{bulk}/{verb}", "POST")
    for path in (BULKS, bulk, f"{bulk}/results"):
        call(path)
    call(f"{bulk}/cancel", "POST")
