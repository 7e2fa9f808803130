"""Bulks: many jobs at once, all or none. What is true of the whole bulk is said once, in its row, whatever its size;
what must be done to each of its jobs is done by `sweep_bulks`, a few at a time.

loading → open ⇄ paused → canceling → canceled, or loading → dropping → gone.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, insert, null, select, update
from sqlalchemy.orm import Session

from limner_shared.database import now
from limner_shared.ids import new_id
from limner_shared.jobs import JobState, sources
from limner_shared.ledger.ends import cancel
from limner_shared.ledger.intake import refund
from limner_shared.ledger.records import SILENT, Change
from limner_shared.tables import Bulk, IdempotencyKey, Job, Tenant


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
    """No more of it is released from now on; `sweep_bulks` cancels its jobs.

    Not in the same transaction: jobs are always locked before their bulk, never after it.
    """
    _change(session, bulk_id, ("loading", "open", "paused"), state="canceling")


def drop_bulk(session: Session, bulk_id: str, limit: int) -> None:
    """Forget a bulk that was never sealed; the first jobs are deleted here, the others by `sweep_bulks`."""
    if _change(session, bulk_id, ("loading",), state="dropping"):
        session.execute(delete(IdempotencyKey).where(IdempotencyKey.resource_id == bulk_id), execution_options=SILENT)
        _delete_some(session, bulk_id, limit)


def stale_bulks(session: Session, seconds: float) -> list[str]:
    """Bulks that are loading, and whose loader has not been heard of for so long: its process died."""
    return list(session.scalars(select(Bulk.id).where(Bulk.state == "loading", Bulk.touched_at < now() - seconds)))


def sweep_bulks(session: Session, limit: int) -> list[Change]:
    """Go on with what was begun: cancel jobs of canceled bulks and delete those of dropped ones, at most so many."""
    changes: list[Change] = []
    for bulk_id in session.scalars(select(Bulk.id).where(Bulk.state == "canceling")).all():
        if len(changes) < limit:
            changes += _cancel_some(session, bulk_id, limit - len(changes))
    for bulk_id in session.scalars(select(Bulk.id).where(Bulk.state == "dropping")).all():
        _delete_some(session, bulk_id, limit)
    return changes


def _cancel_some(session: Session, bulk_id: str, limit: int) -> list[Change]:
    live = (Job.bulk_id == bulk_id) & Job.state.in_(sources(JobState.CANCELED))
    some = select(Job.id).where(live).limit(limit).with_for_update(skip_locked=True)
    changes = cancel(session, Job.id.in_(some))
    if session.scalar(select(Job.id).where(live).limit(1)) is None:
        _change(session, bulk_id, ("canceling",), state="canceled")
    return changes


def _delete_some(session: Session, bulk_id: str, limit: int) -> None:
    some = select(Job.id).where(Job.bulk_id == bulk_id).limit(limit)
    costs = session.scalars(delete(Job).where(Job.id.in_(some)).returning(Job.cost), execution_options=SILENT).all()
    tenant = session.scalar(select(Bulk.tenant_id).where(Bulk.id == bulk_id))
    if costs and tenant is not None and session.scalar(select(Tenant.cost_per_day).where(Tenant.id == tenant)):
        refund(session, tenant, sum(costs))
    if len(costs) < limit:
        session.execute(delete(Bulk).where(Bulk.id == bulk_id), execution_options=SILENT)


def _change(session: Session, bulk_id: str, states: tuple[str, ...], **values: object) -> bool:
    statement = update(Bulk).where(Bulk.id == bulk_id, Bulk.state.in_(states)).values(**values).returning(Bulk.id)
    return session.scalar(statement, execution_options=SILENT) is not None
