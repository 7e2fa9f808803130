"""Bulks: many jobs at once, all or none.

What applies to a whole bulk is one write to its row, whatever the bulk's size. What must be done to each of its jobs is
done by `sweep_bulk`, a few jobs in each transaction. The states are in `domain.bulks`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, insert, null, select, update
from sqlalchemy.orm import Session

from limner_shared.db.batch_tables import BatchLine
from limner_shared.db.engine import now
from limner_shared.db.ledger.quotas import refund, require_room
from limner_shared.db.ledger.termination import cancel
from limner_shared.db.ledger.transitions import bulk_completed, lock
from limner_shared.db.ledger.types import Change
from limner_shared.db.many_rows import NO_SYNC
from limner_shared.db.tables import Bulk, Event, IdempotencyKey, Job, Tenant
from limner_shared.db.webhooks.log import forget_subjects
from limner_shared.db.webhooks.outbox import NewEvent, emit
from limner_shared.domain.bulks import BulkState, bulk_sources
from limner_shared.domain.ids import new_id
from limner_shared.domain.jobs import JobState, sources
from limner_shared.domain.webhooks import EventType


def open_bulk(session: Session, tenant_id: str, webhook: Mapping[str, Any] | None = None) -> str:
    """Create a bulk that is loading and return its id; its jobs wait until `seal_bulk`.

    `webhook` is a `webhooks.Webhook` as JSON.
    """
    bulk_id = new_id("bulk")
    values: dict[str, Any] = {"id": bulk_id, "tenant_id": tenant_id, "state": BulkState.LOADING, "total": 0}
    values |= {"webhook": None if webhook is None else dict(webhook)}
    session.execute(insert(Bulk).values(created_at=now(), touched_at=now(), **values))
    return bulk_id


def touch_bulk(session: Session, bulk_id: str, jobs: int = 0) -> bool:
    """Record that the loader is alive and stores `jobs` more; False if the bulk is no longer loading."""
    return _update(session, bulk_id, [BulkState.LOADING], touched_at=now(), total=Bulk.total + jobs)


def seal_bulk(
    session: Session,
    bulk_id: str,
    total: int,
    skipped: dict[str, Any] | None = None,
    duplicates: dict[str, Any] | None = None,
) -> bool:
    """loading → open: the bulk is complete and its jobs may be released. False if it is no longer loading.

    `skipped` and `duplicates` describe the lines that made no job; see `views.SkippedView` and `DuplicatesView`. Raises
    TooManyRequests if its tenant's other jobs leave no room for it any more.
    """
    values = {"state": BulkState.OPEN, "total": total, "skipped": skipped or null(), "duplicates": duplicates or null()}
    sealed = _update(session, bulk_id, [BulkState.LOADING], **values)
    if sealed:
        require_room(session, bulk_id)
        # Its jobs may all have ended by now: canceled or expired.
        emit(session, bulk_completed(session, update(Bulk).where(Bulk.id == bulk_id).values(total=total)))
    return sealed


def pause_bulk(session: Session, bulk_id: str, *, paused: bool) -> bool:
    """open → paused, or back: stop or resume the release of its jobs. Jobs that were released go on.

    True also if the bulk is in the wanted state already; False if its state does not allow the change.
    """
    target = BulkState.PAUSED if paused else BulkState.OPEN
    return _update(session, bulk_id, [BulkState.OPEN, BulkState.PAUSED], state=target)


def cancel_bulk(session: Session, bulk_id: str) -> None:
    """loading, open or paused → canceling: no more of its jobs are released. `sweep_bulk` cancels the jobs later, in
    its own transactions.

    A bulk that was still loading was never accepted, so its idempotency key becomes free.
    """
    if _update(session, bulk_id, [BulkState.LOADING], state=BulkState.CANCELING):
        _release_key(session, bulk_id)
    else:
        _move(session, bulk_id, BulkState.CANCELING)


def drop_bulk(session: Session, bulk_id: str) -> bool:
    """loading → dropping: delete a bulk that was never sealed, with its idempotency key. `sweep_bulk` deletes its jobs.

    False if it was sealed, canceled or dropped before.
    """
    dropped = _move(session, bulk_id, BulkState.DROPPING)
    if dropped:
        _release_key(session, bulk_id)
    return dropped


def stale_bulks(session: Session, seconds: float) -> list[str]:
    """The loading bulks whose loader last wrote more than `seconds` ago: its process died."""
    stale = (Bulk.state == BulkState.LOADING) & (Bulk.touched_at < now() - seconds)
    return list(session.scalars(select(Bulk.id).where(stale)))


def unswept_bulks(session: Session) -> list[str]:
    """The bulks that were canceled or dropped and have jobs left to sweep, the oldest first."""
    unswept = Bulk.state.in_((BulkState.CANCELING, BulkState.DROPPING))
    return list(session.scalars(select(Bulk.id).where(unswept).order_by(Bulk.id)))


def sweep_bulk(session: Session, bulk_id: str, limit: int) -> list[Change]:
    """Cancel the jobs of a canceled bulk, or delete those of a dropped one, at most `limit` in this transaction.

    Safe to repeat and to run concurrently: the bulk's row is locked first, a caller that finds it locked does nothing,
    and the loader can add nothing meanwhile (`touch_bulk`). A transaction that ends a job locks the job before its
    bulk; so the sweep leaves locked jobs to the next one, and waits for nothing.
    """
    row = select(Bulk.state, Bulk.tenant_id).where(Bulk.id == bulk_id).with_for_update(skip_locked=True)
    found = session.execute(row).one_or_none()
    if found is not None and found.state == BulkState.CANCELING:
        return _cancel_some(session, bulk_id, limit)
    if found is not None and found.state == BulkState.DROPPING:
        _delete_some(session, bulk_id, found.tenant_id, limit)
    return []


def _cancel_some(session: Session, bulk_id: str, limit: int) -> list[Change]:
    live = (Job.bulk_id == bulk_id) & Job.state.in_(sources(JobState.CANCELED))
    ids = lock(session, select(Job.id).where(live).limit(limit))
    changes = cancel(session, Job.id.in_(ids)) if ids else []
    if session.scalar(select(Job.id).where(live).limit(1)) is None and _move(session, bulk_id, BulkState.CANCELED):
        row = session.execute(select(Bulk.tenant_id, Bulk.webhook).where(Bulk.id == bulk_id)).one()
        emit(session, [NewEvent(row.tenant_id, EventType.BULK_CANCELED, bulk_id, row.webhook)])
    return changes


def _delete_some(session: Session, bulk_id: str, tenant_id: str, limit: int) -> None:
    ids = lock(session, select(Job.id).where(Job.bulk_id == bulk_id).limit(limit))
    if ids:
        session.execute(delete(Event).where(Event.job_id.in_(ids)), execution_options=NO_SYNC)
        forget_subjects(session, ids)
        gone = delete(Job).where(Job.id.in_(ids)).returning(Job.created_at, Job.cost, Job.bulk_line)
        rows = session.execute(gone, execution_options=NO_SYNC).all()
        jobs, lines = [(row.created_at, row.cost) for row in rows], [row.bulk_line for row in rows]
        beside = (BatchLine.bulk_id == bulk_id) & BatchLine.line.in_(lines)
        session.execute(delete(BatchLine).where(beside), execution_options=NO_SYNC)
        if session.scalar(select(Tenant.cost_per_day).where(Tenant.id == tenant_id)) is not None:
            refund(session, tenant_id, jobs)
    if session.scalar(select(Job.id).where(Job.bulk_id == bulk_id).limit(1)) is None:
        session.execute(delete(Bulk).where(Bulk.id == bulk_id), execution_options=NO_SYNC)


def _release_key(session: Session, bulk_id: str) -> None:
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.resource_id == bulk_id), execution_options=NO_SYNC)


def _move(session: Session, bulk_id: str, target: BulkState) -> bool:
    """Change the state, if the transition table allows it; False otherwise."""
    return _update(session, bulk_id, bulk_sources(target), state=target)


def _update(session: Session, bulk_id: str, states: Sequence[BulkState], **values: object) -> bool:
    """Update a bulk that is in one of these states; False otherwise."""
    statement = update(Bulk).where(Bulk.id == bulk_id, Bulk.state.in_(states)).values(**values).returning(Bulk.id)
    return session.scalar(statement, execution_options=NO_SYNC) is not None
