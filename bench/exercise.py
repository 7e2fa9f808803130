"""Every operation that queries the database, of clients, workers, the dispatcher and operators."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text, update

from bench.statements import OTHER, TENANT
from limner_dispatcher.dispatcher import Dispatcher
from limner_dispatcher.retention import Cleaner
from limner_shared.db import ledger, queries, release_queries
from limner_shared.db.accounts import audit, keys, tenants
from limner_shared.db.engine import Database
from limner_shared.db.ledger import Claim, NewImage, NewJob, Result
from limner_shared.db.tables import SCHEDULED, Job, Tenant
from limner_shared.domain.conditions import Conditions, Interpretation
from limner_shared.domain.jobs import JobRequest, JobSpec, JobState, Priority
from limner_shared.errors import GenerationFailed, StorageFailed

JOBS, BULKS, TALKS = "/api/v1/jobs", "/api/v1/bulks", "/api/v1/conversations"
USAGE = "/api/v1/usage"
LONG = 10_000_000


def clean(app: Flask, **keep: float) -> None:
    """Run the cleaner once with the retention `keep`, in days."""
    held = app.extensions["limner"]
    with held.database.write() as session:
        session.execute(update(Tenant).values(keep))
    Cleaner(held.database, held.blobs, -1.0).clean()


def exercise(app: Flask, dispatcher: Dispatcher) -> None:
    """Run every operation once or a few times; the cleaner with nothing due and with everything due."""
    held = app.extensions["limner"]
    card, spec = held.catalogue.resolve(JobRequest(prompt="a red apple", seed=1))
    with held.database.write() as session:
        session.execute(
            update(Tenant).values(max_queued=LONG, max_running=LONG, cost_per_day=10**12, share_results=True)
        )
    ask(app.test_client())
    _round(dispatcher)
    work(held.database, spec, card.name)
    with held.database.write() as session:
        session.execute(update(Job).where(text(SCHEDULED)).values(not_before=1.0))
    _round(dispatcher)
    sweep(held.database, card.name)
    operate(held.database)
    clean(app, keep_images_days=LONG, keep_prompts_days=LONG, keep_jobs_days=LONG)
    clean(app, keep_images_days=1, keep_prompts_days=1, keep_jobs_days=LONG)
    clean(app, keep_images_days=1, keep_prompts_days=1, keep_jobs_days=1)


def _round(dispatcher: Dispatcher) -> None:
    dispatcher.release()
    dispatcher.repair()
    dispatcher.clean()
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
    later = call(JOBS, "POST", json={"prompt": "x", "not_before": tomorrow, "max_retries": 1})
    call(later["links"]["self"])
    filters = ["", "bulk=bulk_0001", f"bulk=bulk_0001&model={model}", "dead=true", f"model={model}", "model=none"]
    filters += [f"state={state}" for state in JobState] + [f"state={state}&model={model}" for state in JobState]
    for each in [*filters, *[f"{each}&state=running" for each in filters if "state" not in each]]:
        page = call(f"{JOBS}?{each}&limit=2")
        if page["next"]:
            call(f"{JOBS}?{each}&limit=2&cursor={page['next']}")
    old = call(f"{JOBS}?state=succeeded&limit=1")["items"][0]
    for path in (job["links"]["self"], f"{old['links']['self']}/receipts"):
        call(path)
    client.get(old["images"][0]["url"])  # its bytes are missing
    call(f"{old['links']['self']}/replay", "POST")
    call(f"{JOBS}/retry", "POST", json={})
    call(job["links"]["cancel"], "POST")
    _ask_of_bulks(call)
    talk = call(TALKS, "POST", json={"message": "a red car"})
    turn = call(talk["links"]["messages"], "POST", json={"message": "bluer"})
    call(f"{talk['links']['self']}/turns/{turn['id']}", "PUT", json={"message": "greener"})
    for path in (TALKS, f"{TALKS}?limit=1&cursor={talk['id']}", talk["links"]["self"], "/readyz", USAGE):
        call(path)
    call(talk["links"]["self"], "DELETE")


def _ask_of_bulks(call: Callable[..., Any]) -> None:
    lines = "".join(json.dumps({"prompt": f"x {n}"}) + "\n" for n in range(20))
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
        ledger.interpreted(session, first.id, first.attempt, made, spec, 30)
        queries.pictures_of(session, ["ab" * 32])
        ledger.finish(session, [_result(first)])
        ledger.fail(session, Result(second.id, second.attempt, error=GenerationFailed()))
        ledger.fail(session, Result(third.id, third.attempt, error=StorageFailed()))
        session.execute(update(Job).where(Job.id == third.id).values(not_before=1.0))
        ledger.start_due(session, 1000)
        ledger.hand_back(session, [claim.key for claim in others])
        ledger.forfeit(session, [claim.key for claim in claims])
        ledger.claim_next(session, [model], 8, "a worker", -1.0)


def _result(claim: Claim) -> Result:
    image = NewImage("ab" * 32, "image/png", 8, 8, 9, 7, {}, "words", "ab" * 32)
    return Result(claim.id, claim.attempt, [image], presentation="Here it is.")


def sweep(database: Database, model: str) -> None:
    """Run the dispatcher's periodic repairs: expired leases, stale bulks, unknown models, legacy jobs."""
    with database.write() as session:
        ledger.reap(session, 2)
        bulk_id = ledger.open_bulk(session, TENANT)
        ledger.touch_bulk(session, bulk_id, 1)
        for stale in ledger.stale_bulks(session, -1.0):
            ledger.drop_bulk(session, stale)
        ledger.fail_unknown(session, ["another"], LONG, 10)
        for unswept in ledger.unswept_bulks(session):
            ledger.sweep_bulk(session, unswept, 100)
        ledger.backfill_legacy_jobs(session, model, 100)
        ledger.delete_old_idempotency_keys(session, LONG)


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
        release_queries.waiting_models(session)
        queries.shares(session, [TENANT, OTHER])
        queries.queued_jobs(session, OTHER, 1000)
        queries.has_active(session, OTHER, "none")
        ledger.cancel(session, Job.id == "job_none")
