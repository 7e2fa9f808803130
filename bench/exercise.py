"""Every operation that queries the database, of clients, workers, the dispatcher and operators."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text, update

from bench.statements import ENCODER, OTHER, TENANT
from limner_dispatcher.dispatcher import Dispatcher
from limner_dispatcher.retention import Retention
from limner_shared.db import batches, event_queries, ledger, queries, release_queries
from limner_shared.db.accounts import audit, keys, pauses, tenants
from limner_shared.db.batch_tables import Batch
from limner_shared.db.engine import Database
from limner_shared.db.ledger import Claim, NewImage, NewJob, Result
from limner_shared.db.tables import SCHEDULED, Job, Pause, Tenant
from limner_shared.domain.conditions import Conditions, Interpretation
from limner_shared.domain.embeddings import VECTOR_BYTES, Embedding
from limner_shared.domain.jobs import JobRequest, JobSpec, JobState, Priority
from limner_shared.domain.pauses import PauseKind
from limner_shared.domain.webhooks import DeliveryState
from limner_shared.errors import GenerationFailed, StorageFailed
from limner_web.openai.batch_loader import BatchLoader

JOBS, BULKS, TALKS = "/api/v1/jobs", "/api/v1/bulks", "/api/v1/conversations"
USAGE, PAUSES = "/api/v1/usage", "/api/v1/pauses"
LONG: Final = 10_000_000


def clean(app: Flask, **keep: float) -> None:
    """Run the cleaner once with the retention `keep`, in days."""
    held = app.extensions["limner"]
    with held.database.write() as session:
        session.execute(update(Tenant).values(keep))
    Retention(held.database, held.blobs, -1.0).run()


def exercise(app: Flask, dispatcher: Dispatcher) -> None:
    """Run every operation once or a few times; the cleaner with nothing due and with everything due."""
    held = app.extensions["limner"]
    card, spec = held.catalogue.resolve(JobRequest(prompt="a red apple", seed=1))
    with held.database.write() as session:
        session.execute(
            update(Tenant).values(max_queued=LONG, max_running=LONG, cost_per_day=10**12, share_results=True)
        )
    ask(app.test_client())
    batch(app)
    notify(app, dispatcher)
    _round(dispatcher)
    work(held.database, spec, card.name)
    with held.database.write() as session:
        session.execute(update(Job).where(text(SCHEDULED)).values(not_before=1.0))
    _round(dispatcher)
    sweep(held.database)
    pause(held.database, card.name, dispatcher)
    operate(held.database)
    clean(app, keep_images_days=LONG, keep_prompts_days=LONG, keep_jobs_days=LONG)
    clean(app, keep_images_days=1, keep_prompts_days=1, keep_jobs_days=LONG)
    clean(app, keep_images_days=1, keep_prompts_days=1, keep_jobs_days=1)


def _round(dispatcher: Dispatcher) -> None:
    dispatcher.release()
    dispatcher.repair()
    dispatcher.retain()
    dispatcher.measure()


def ask(client: FlaskClient) -> None:
    """Call every route of the API that queries the database."""

    def call(path: str, method: str = "GET", **more: Any) -> Any:
        answer = client.open(path, method=method, **more)
        if answer.status_code >= HTTPStatus.BAD_REQUEST:
            raise RuntimeError(f"{method} {path}: {answer.text}")
        return answer.json if answer.is_json and answer.data else answer.data

    model = call("/api/v1/models")["items"][0]["name"]
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


def work(database: Database, spec: JobSpec, model: str) -> None:
    """Run the operations of a worker: claims with and without a message, lease renewal, each kind of end."""
    with database.write() as session:
        new = [NewJob(spec, 24, Priority.NORMAL, max_retries=1)] * 7
        ids = [change.id for change in ledger.submit(session, TENANT, new, window=10**6).changes]
        claims = ledger.claim(session, ids, "a worker", 60)
        ledger.renew(session, [claim.key for claim in claims], 60)
        first, second, third, *others = claims
        made = Interpretation(conditions=Conditions(prompt="x"), backend="rules")
        ledger.store_interpretation(session, first.id, first.attempt, made, spec, 30)
        queries.pictures_of(session, ["ab" * 32])
        failed = Result(second.id, second.attempt, error=GenerationFailed())
        ledger.settle(session, [_result(first), failed, Result(third.id, third.attempt, error=StorageFailed())])
        session.execute(update(Job).where(Job.id == third.id).values(not_before=1.0))
        ledger.start_due(session, 1000)
        ledger.hand_back(session, [claim.key for claim in others])
        ledger.forfeit(session, [claim.key for claim in claims])
        ledger.claim_next(session, [model], 8, "a worker", -1.0)


def _result(claim: Claim) -> Result:
    vector = Embedding(ENCODER, bytes(VECTOR_BYTES))
    image = NewImage("ab" * 32, "image/png", 8, 8, 9, 7, {}, "words", "ab" * 32, vector)
    return Result(claim.id, claim.attempt, [image], presentation="Here it is.")


def sweep(database: Database) -> None:
    """Run the dispatcher's periodic repairs: expired leases, stale bulks, unknown models."""
    with database.write() as session:
        ledger.reap(session, 2)
        bulk_id = ledger.open_bulk(session, TENANT)
        ledger.touch_bulk(session, bulk_id)
        for stale in ledger.stale_bulks(session, -1.0):
            ledger.drop_bulk(session, stale)
        ledger.fail_unknown(session, ["another"], LONG, 10)
        for unswept in ledger.unswept_bulks(session):
            ledger.sweep_bulk(session, unswept, 100)
        ledger.delete_old_idempotency_keys(session, LONG)


def pause(database: Database, model: str, dispatcher: Dispatcher) -> None:
    """Run the operations of a service with a paused tenant and a pause that has ended."""
    with database.write() as session:
        pauses.pause(session, PauseKind.TENANT, TENANT, None, None, actor=audit.OPERATOR)
        pauses.find(session, PauseKind.TENANT, TENANT)
        ended = pauses.pause(session, PauseKind.MODEL, "another", None, None, actor=audit.OPERATOR)
        session.execute(update(Pause).where(Pause.id == ended.id).values(until=1.0))
        ledger.claim_next(session, [model], 8, "a worker", -1.0)
    _round(dispatcher)


def operate(database: Database) -> None:
    """Run the operations of the operator's commands."""
    with database.write() as session:
        key = keys.create(session, "other", "bench")
        keys.authenticate(session, key)
        keys.list_keys(session)
        keys.tenant_keys(session, OTHER, 2, keys.rotate(session, key.split("_")[1], overlap_seconds=0).new.id)
        keys.note_use(session, [key.split("_")[1]])
        keys.record_expired(session, 9)
        keys.revoke(session, key.split("_")[1])
        tenants.list_tenants(session)
        tenants.change_tenant(session, "other", {"weight": 2.0})
        audit.tenant_entries(session, OTHER, 9, 10**9)
        audit.newest_entries(session, 9)
        audit.newest_entries(session, 9, "other")
        newest = event_queries.newest_event(session)
        event_queries.event_ids(session, newest - 1000)
        event_queries.events_after(session, newest - 1000, [newest - 1], 1000)
        event_queries.missed_events(session, TENANT, newest - 1000, None)
        event_queries.missed_events(session, TENANT, newest - 1000, ["job_none"])
        event_queries.conversation_jobs(session, "conv_none")
        release_queries.unserved_models(session, [])
        release_queries.shares(session, [TENANT, OTHER])
        queries.queued_jobs(session, OTHER, 1000)
        ledger.read_intake_state(session, OTHER, "none", Priority.NORMAL)
        ledger.cancel(session, Job.id == "job_none")
