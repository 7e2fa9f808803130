"""The operations by which workers, the dispatcher's repairs and the operator's commands query the database.

They are called one by one, as functions of the ledger: a query that only a worker's own code makes has to be added
here, and no test fails without it.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import update

from bench.statements import ENCODER, OTHER, TENANT
from limner_dispatcher.dispatcher import Dispatcher
from limner_shared.db import event_queries, ledger, queries, release_queries
from limner_shared.db.accounts import audit, keys, pauses, tenants
from limner_shared.db.engine import Database
from limner_shared.db.ledger import Claim, NewImage, NewJob, Result
from limner_shared.db.tables import Job, Pause
from limner_shared.domain.conditions import Conditions, Interpretation
from limner_shared.domain.embeddings import VECTOR_BYTES, Embedding
from limner_shared.domain.jobs import JobSpec, Priority
from limner_shared.domain.pauses import PauseKind
from limner_shared.errors import GenerationFailed, StorageFailed

LONG: Final = 10_000_000


def look_around(dispatcher: Dispatcher) -> None:
    """Let the dispatcher do all its duties once."""
    dispatcher.release()
    dispatcher.repair()
    dispatcher.retain()
    dispatcher.measure()


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


def sweep(database: Database, served: str) -> None:
    """Run the dispatcher's periodic repairs: expired leases, stale bulks, unknown models, orders to cancel."""
    with database.write() as session:
        ledger.reap(session, 2)
        bulk_id = ledger.open_bulk(session, TENANT)
        ledger.touch_bulk(session, bulk_id)
        for stale in ledger.stale_bulks(session, -1.0):
            ledger.drop_bulk(session, stale)
        ledger.fail_unknown(session, ["another"], LONG, 10)
        for unswept in ledger.unswept_bulks(session):
            ledger.sweep_bulk(session, unswept, 100)
        for model, priority in ((None, None), (served, None), (served, Priority.LOW)):
            if order := ledger.order_cancellation(session, OTHER, model, priority):
                found = ledger.find_ordered(session, order.id, "", 1)
                ledger.sweep_cancellation(session, order, found[1] if found else [], all_=True)
                ledger.stop_cancellation(session, OTHER, order.id)
        ledger.open_cancellations(session)
        ledger.cancellations(session, OTHER)
        ledger.delete_old_idempotency_keys(session, LONG)


def pause(database: Database, model: str, dispatcher: Dispatcher) -> None:
    """Run the operations of a service with a paused tenant and a pause that has ended."""
    with database.write() as session:
        pauses.pause(session, PauseKind.TENANT, TENANT, None, None, actor=audit.OPERATOR)
        pauses.find(session, PauseKind.TENANT, TENANT)
        ended = pauses.pause(session, PauseKind.MODEL, "another", None, None, actor=audit.OPERATOR)
        session.execute(update(Pause).where(Pause.id == ended.id).values(until=1.0))
        ledger.claim_next(session, [model], 8, "a worker", -1.0)
    look_around(dispatcher)


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
