"""Bulks: many jobs at once, all or none. What is true of the whole bulk is said once, in its row, whatever its size;
what must be done to each of its jobs is done by `sweep_bulk`, a few at a time.

loading → open ⇄ paused → canceling → canceled, or loading → dropping → gone.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, insert, null, select, update
from sqlalchemy.orm import Session

from limner_shared.db.engine import now
from limner_shared.db.ledger.intake import refund
from limner_shared.db.ledger.termination import cancel
from limner_shared.db.ledger.types import NO_SYNC, Change, lock
from limner_shared.db.tables import Bulk, Event, IdempotencyKey, Job, Tenant
from limner_shared.domain.ids import new_id
from limner_shared.domain.jobs import JobState, sources


def open_bulk(session: Session, tenant_id: str) -> str:
    """Begin a bulk; its jobs wait until `seal_bulk`."""
    bulk_id = new_id("bulk")
    values = {"id": bulk_id, "tenant_id": tenant_id, "state": "loading", "total": 0}
    session.execute(insert(Bulk).values(created_at=now(), touched_at=now(), **values))
    return bulk_id


def touch_bulk(session: Session, bulk_id: str, total: int) -> bool:
    """Say that whoever loads this bulk is alive, and how far; False if it was given up already."""
    return _change(session, bulk_id, ("loading",), touched_at=now(), total=total)


def seal_bulk(session: Session, bulk_id: str, total: int, skipped: dict[str, Any] | None = None) -> bool:
    """The bulk is complete: its jobs may be released; False if it was given up already.

    `skipped` tells of lines that were left out; see `views.SkippedView`.
    """
    return _change(session, bulk_id, ("loading",), state="open", total=total, skipped=skipped or null())


def pause_bulk(session: Session, bulk_id: str, *, paused: bool) -> bool:
    """Release none of its jobs, or go on; what was released already goes on. False if its state does not allow it."""
    before, after = ("open", "paused") if paused else ("paused", "open")
    return _change(session, bulk_id, (before, after), state=after)


def cancel_bulk(session: Session, bulk_id: str) -> None:
    """No more of it is released from now on; `sweep_bulk` cancels its jobs, in a transaction of its own.

    What was still loading was never accepted: its idempotency key is free again.
    """
    if _change(session, bulk_id, ("loading",), state="canceling"):
        _release_key(session, bulk_id)
    else:
        _change(session, bulk_id, ("open", "paused"), state="canceling")


def drop_bulk(session: Session, bulk_id: str) -> bool:
    """Forget a bulk that was never sealed, with its idempotency key; `sweep_bulk` deletes its jobs.

    False if it was sealed, canceled or dropped before.
    """
    dropped = _change(session, bulk_id, ("loading",), state="dropping")
    if dropped:
        _release_key(session, bulk_id)
    return dropped


def stale_bulks(session: Session, seconds: float) -> list[str]:
    """Bulks that are loading, and whose loader has not been heard of for so long: its process died."""
    return list(session.scalars(select(Bulk.id).where(Bulk.state == "loading", Bulk.touched_at < now() - seconds)))


def unswept_bulks(session: Session) -> list[str]:
    """Bulks that were canceled or dropped and still have something to sweep, the oldest first."""
    return list(session.scalars(select(Bulk.id).where(Bulk.state.in_(("canceling", "dropping"))).order_by(Bulk.id)))


def sweep_bulk(session: Session, bulk_id: str, limit: int) -> list[Change]:
    """Go on with what was begun: cancel a canceled bulk's jobs, or delete a dropped one's, at most so many.

    Safe to be repeated and to be done by several at once: its row is locked first, whoever finds it locked leaves it
    to the other one, and the loader can add nothing meanwhile (`touch_bulk`). A job's own transaction locks the job
    before its bulk; so jobs that are locked are left to the next sweep, and nothing is waited for.
    """
    row = select(Bulk.state, Bulk.tenant_id).where(Bulk.id == bulk_id).with_for_update(skip_locked=True)
    found = session.execute(row).one_or_none()
    if found is not None and found.state == "canceling":
        return _cancel_some(session, bulk_id, limit)
    if found is not None and found.state == "dropping":
        _delete_some(session, bulk_id, found.tenant_id, limit)
    return []


def _cancel_some(session: Session, bulk_id: str, limit: int) -> list[Change]:
    live = (Job.bulk_id == bulk_id) & Job.state.in_(sources(JobState.CANCELED))
    ids = lock(session, select(Job.id).where(live).limit(limit))
    changes = cancel(session, Job.id.in_(ids)) if ids else []
    if session.scalar(select(Job.id).where(live).limit(1)) is None:
        _change(session, bulk_id, ("canceling",), state="canceled")
    return changes


def _delete_some(session: Session, bulk_id: str, tenant_id: str, limit: int) -> None:
    ids = lock(session, select(Job.id).where(Job.bulk_id == bulk_id).limit(limit))
    if ids:
        session.execute(delete(Event).where(Event.job_id.in_(ids)), execution_options=NO_SYNC)
        gone = delete(Job).where(Job.id.in_(ids)).returning(Job.created_at, Job.cost)
        jobs = [(row.created_at, row.cost) for row in session.execute(gone, execution_options=NO_SYNC)]
        if session.scalar(select(Tenant.cost_per_day).where(Tenant.id == tenant_id)) is not None:
            refund(session, tenant_id, jobs)
    if session.scalar(select(Job.id).where(Job.bulk_id == bulk_id).limit(1)) is None:
        session.execute(delete(Bulk).where(Bulk.id == bulk_id), execution_options=NO_SYNC)


def _release_key(session: Session, bulk_id: str) -> None:
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.resource_id == bulk_id), execution_options=NO_SYNC)


def _change(session: Session, bulk_id: str, states: tuple[str, ...], **values: object) -> bool:
    statement = update(Bulk).where(Bulk.id == bulk_id, Bulk.state.in_(states)).values(**values).returning(Bulk.id)
    return session.scalar(statement, execution_options=NO_SYNC) is not None
