"""Cancellation of a tenant's jobs that wait: some at once, or all by an order.

An order is one row, whatever the number of jobs. It is for the jobs that wait when it is given, not for later ones.
`sweep_cancellation` cancels them later, a limited number in each transaction, until none is left or the tenant stops
the order. Then the order stays, so that its tenant can read how many it has canceled.

Jobs are found before the transaction that cancels them: no index has the priority class of all that waits, so the
search may pass over a million others, and no writer should wait for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.orm import Session

from limner_shared.db.engine import now
from limner_shared.db.ledger.termination import cancel
from limner_shared.db.ledger.transitions import lock
from limner_shared.db.ledger.types import Change
from limner_shared.db.many_rows import NO_SYNC
from limner_shared.db.tables import Cancellation, Job
from limner_shared.domain.cancellations import CancellationState
from limner_shared.domain.ids import new_id
from limner_shared.domain.jobs import JobState, Priority
from limner_shared.errors import NotFound

KEPT_SECONDS: Final = 3600
"""An order that has ended is kept so long after it was given, and until its tenant gives another."""
MOST_KEPT: Final = 100
"""The ended orders of a tenant that are kept at most: the dispatcher passes over them in each round."""
IS_RUNNING: Final = Cancellation.state == CancellationState.RUNNING


class Order(NamedTuple):
    """An order as it was read or given."""

    id: str
    last_job: str
    ordered_at: float


def find_waiting(
    session: Session, tenant_id: str, model: str | None, priority: Priority | None, limit: int
) -> list[str]:
    """A tenant's jobs that wait, of one model and priority class or of all, the oldest first and at most `limit`."""
    return _oldest(session, _waiting(tenant_id, model, priority), limit)


def cancel_waiting(session: Session, job_ids: Sequence[str]) -> list[Change]:
    """queued → canceled for those of these jobs that still wait. Those that another transaction has locked are left."""
    waiting = Job.id.in_(job_ids) & (Job.state == JobState.QUEUED)
    ids = lock(session, select(Job.id).where(waiting).order_by(Job.id)) if job_ids else []
    return cancel(session, Job.id.in_(ids) & (Job.state == JobState.QUEUED)) if ids else []


def order_cancellation(session: Session, tenant_id: str, model: str | None, priority: Priority | None) -> Order | None:
    """Order the cancellation of what waits now, and return the order; None if nothing waits.

    A repeated order for the same model and priority class extends the one before to what waits now.
    """
    # Without the class, which no index has: a job beyond the last one of the class makes no difference.
    newest = select(Job.id, Job.created_at, now()).where(_waiting(tenant_id, model, None)).order_by(Job.id.desc())
    found = session.execute(newest.limit(1)).one_or_none()
    if found is None:
        return None
    last, *times = found
    until: dict[str, Any] = {"last_job": last, "ordered_at": max(times)}  # the database's clock may have been put back
    same = (Cancellation.tenant_id == tenant_id) & (Cancellation.model == model) & (Cancellation.priority == priority)
    extended = update(Cancellation).where(same & IS_RUNNING).values(until).returning(Cancellation.id)
    order_id = session.scalar(extended, execution_options=NO_SYNC)
    if order_id is None:
        _delete_ended(session, tenant_id)
        order_id = new_id("cancel")
        what = {"id": order_id, "tenant_id": tenant_id, "model": model, "priority": priority, "canceled": 0}
        session.execute(insert(Cancellation).values(what | until | {"state": CancellationState.RUNNING}))
    return Order(order_id, **until)


def find_ordered(session: Session, order_id: str, after: str, limit: int) -> tuple[Order, list[str]] | None:
    """An order and its jobs that wait, at most `limit` of those after the job `after`, the oldest first; None if it has
    ended.
    """
    row = session.scalar(select(Cancellation).where((Cancellation.id == order_id) & IS_RUNNING))
    if row is None:
        return None
    priority = None if row.priority is None else Priority(row.priority)
    # Also by the database's clock: the web servers' clocks make the ids, and one of them may be slow.
    meant = (Job.id > after) & (Job.id <= row.last_job) & (Job.created_at <= row.ordered_at)
    ids = _oldest(session, _waiting(row.tenant_id, row.model, priority) & meant, limit)
    return Order(row.id, row.last_job, row.ordered_at), ids


def sweep_cancellation(session: Session, order: Order, job_ids: Sequence[str], *, all_: bool) -> list[Change]:
    """Cancel jobs of an order, unless it has ended. If these are `all_` that waited, and all of them were canceled, the
    order ends, unless it was extended meanwhile.

    Safe to repeat and to run concurrently: a caller that finds the order locked does nothing, and leaves the rest to
    the one that has it. Jobs that another transaction has locked are left to the next sweep.
    """
    this = Cancellation.id == order.id
    if session.scalar(select(Cancellation.id).where(this & IS_RUNNING).with_for_update(skip_locked=True)) is None:
        return []
    changes = cancel_waiting(session, job_ids)
    values = {"canceled": Cancellation.canceled + len(changes)}
    session.execute(update(Cancellation).where(this).values(values), execution_options=NO_SYNC)
    if all_ and len(changes) == len(job_ids):
        is_unchanged = (Cancellation.last_job == order.last_job) & (Cancellation.ordered_at == order.ordered_at)
        ended = {"state": CancellationState.FINISHED}
        session.execute(update(Cancellation).where(this, is_unchanged).values(ended), execution_options=NO_SYNC)
    return changes


def stop_cancellation(session: Session, tenant_id: str, order_id: str) -> Cancellation:
    """End a tenant's order, so that the jobs that still wait stay, and return it. An order that has ended is unchanged.

    A sweep that has begun ends first. Raises NotFound.
    """
    this = (Cancellation.id == order_id) & (Cancellation.tenant_id == tenant_id)
    values = {"state": CancellationState.STOPPED}
    session.execute(update(Cancellation).where(this & IS_RUNNING).values(values), execution_options=NO_SYNC)
    return cancellation(session, tenant_id, order_id)


def open_cancellations(session: Session) -> list[str]:
    """The orders that have jobs left to cancel, of all tenants, the oldest first."""
    return list(session.scalars(select(Cancellation.id).where(IS_RUNNING).order_by(Cancellation.id)))


def cancellations(session: Session, tenant_id: str) -> Sequence[Cancellation]:
    """A tenant's orders that have jobs left to cancel, the oldest first."""
    mine = select(Cancellation).where((Cancellation.tenant_id == tenant_id) & IS_RUNNING)
    return session.scalars(mine.order_by(Cancellation.id)).all()


def cancellation(session: Session, tenant_id: str, order_id: str) -> Cancellation:
    """A tenant's order, which may have ended. Raises NotFound."""
    this = (Cancellation.id == order_id) & (Cancellation.tenant_id == tenant_id)
    found = session.scalar(select(Cancellation).where(this))
    if found is None:
        raise NotFound(f"There is no cancellation {order_id}.")
    return found


def _delete_ended(session: Session, tenant_id: str) -> None:
    """Delete the tenant's orders that ended long ago, and all but the newest: each may be of one job."""
    mine = (Cancellation.tenant_id == tenant_id) & ~IS_RUNNING
    more = session.scalars(select(Cancellation.id).where(mine).order_by(Cancellation.id.desc()).offset(MOST_KEPT)).all()
    is_old = Cancellation.id.in_(more) | (Cancellation.ordered_at < now() - KEPT_SECONDS)
    session.execute(delete(Cancellation).where(mine, is_old), execution_options=NO_SYNC)


def _waiting(tenant_id: str, model: str | None, priority: Priority | None) -> ColumnElement[bool]:
    waiting = (Job.tenant_id == tenant_id) & (Job.state == JobState.QUEUED)
    if model is not None:
        waiting &= Job.model == model
    if priority is not None:
        waiting &= Job.priority == priority.rank
    return waiting


def _oldest(session: Session, which: ColumnElement[bool], limit: int) -> list[str]:
    return list(session.scalars(select(Job.id).where(which).order_by(Job.id).limit(limit)))
