"""Cancellation of a tenant's jobs that wait: some at once, or all by an order.

An order is one row, whatever the number of jobs. It is for the jobs that wait when it is given, not for later ones.
`sweep_cancellation` cancels them later, a limited number in each transaction.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.orm import Session

from limner_shared.db.engine import now
from limner_shared.db.ledger.termination import cancel
from limner_shared.db.ledger.transitions import lock
from limner_shared.db.ledger.types import Change
from limner_shared.db.many_rows import NO_SYNC
from limner_shared.db.tables import Cancellation, Job
from limner_shared.domain.ids import new_id
from limner_shared.domain.jobs import JobState, Priority


def cancel_waiting(
    session: Session, tenant_id: str, model: str | None, priority: Priority | None, limit: int
) -> tuple[list[Change], bool]:
    """queued → canceled for a tenant's jobs that wait, of one model and priority class or of all, the oldest first and
    at most `limit`; and whether others are left. Jobs that another transaction has locked are left to the next call.
    """
    return _cancel_some(session, _waiting(tenant_id, model, priority), limit)


def order_cancellation(session: Session, tenant_id: str, model: str | None, priority: Priority | None) -> str | None:
    """Order the cancellation of what waits now, and return the order's id; None if nothing waits.

    A repeated order for the same model and priority class extends the one before to what waits now.
    """
    # Without the class, which no index has: a job beyond the last one of the class makes no difference.
    last = session.scalar(select(func.max(Job.id)).where(_waiting(tenant_id, model, None)))
    if last is None:
        return None
    same = (Cancellation.tenant_id == tenant_id) & (Cancellation.model == model) & (Cancellation.priority == priority)
    extended = update(Cancellation).where(same).values(last_job=last).returning(Cancellation.id)
    known = session.scalar(extended, execution_options=NO_SYNC)
    if known is not None:
        return known
    order_id = new_id("cancel")
    what = {"tenant_id": tenant_id, "model": model, "priority": priority, "last_job": last}
    session.execute(insert(Cancellation).values(id=order_id, canceled=0, ordered_at=now(), **what))
    return order_id


def sweep_cancellation(session: Session, order_id: str, limit: int) -> tuple[list[Change], bool]:
    """Cancel jobs of an order, at most `limit` in this transaction, and return whether others are left. The last sweep
    deletes the order.

    Safe to repeat and to run concurrently: a caller that finds the order locked does nothing, and leaves the rest to
    the one that has it. Jobs that another transaction has locked are left to the next sweep.
    """
    found = select(Cancellation).where(Cancellation.id == order_id).with_for_update(skip_locked=True)
    order = session.scalar(found)
    if order is None:
        return [], _is_open(session, order_id)
    priority = None if order.priority is None else Priority(order.priority)
    waiting = _waiting(order.tenant_id, order.model, priority) & (Job.id <= order.last_job)
    changes, more = _cancel_some(session, waiting, limit)
    this = Cancellation.id == order_id
    if more:
        values = {"canceled": Cancellation.canceled + len(changes)}
        session.execute(update(Cancellation).where(this).values(values), execution_options=NO_SYNC)
    else:
        session.execute(delete(Cancellation).where(this), execution_options=NO_SYNC)
    return changes, more


def open_cancellations(session: Session) -> list[str]:
    """The orders that have jobs left to cancel, of all tenants, the oldest first."""
    return list(session.scalars(select(Cancellation.id).order_by(Cancellation.id)))


def cancellations(session: Session, tenant_id: str) -> Sequence[Cancellation]:
    """A tenant's orders that have jobs left to cancel, the oldest first."""
    mine = select(Cancellation).where(Cancellation.tenant_id == tenant_id)
    return session.scalars(mine.order_by(Cancellation.id)).all()


def _is_open(session: Session, order_id: str) -> bool:
    return session.scalar(select(Cancellation.id).where(Cancellation.id == order_id)) is not None


def _waiting(tenant_id: str, model: str | None, priority: Priority | None) -> ColumnElement[bool]:
    waiting = (Job.tenant_id == tenant_id) & (Job.state == JobState.QUEUED)
    if model is not None:
        waiting &= Job.model == model
    if priority is not None:
        waiting &= Job.priority == priority.rank
    return waiting


def _cancel_some(session: Session, waiting: ColumnElement[bool], limit: int) -> tuple[list[Change], bool]:
    ids = lock(session, select(Job.id).where(waiting).order_by(Job.id).limit(limit))
    changes = cancel(session, Job.id.in_(ids) & (Job.state == JobState.QUEUED)) if ids else []
    return changes, session.scalar(select(Job.id).where(waiting).limit(1)) is not None
