"""The tenants' limits on queued jobs and on cost units per day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import case, select, update
from sqlalchemy.orm import Session

from limner_shared.db import queries
from limner_shared.db.engine import clock, insert_new
from limner_shared.db.ledger.idempotency import lock_key
from limner_shared.db.ledger.intake_state import IntakeState
from limner_shared.db.many_rows import NO_SYNC
from limner_shared.db.tables import Bulk, Tenant, Usage
from limner_shared.domain.bulks import BulkState
from limner_shared.domain.durations import DAY_SECONDS
from limner_shared.errors import LimitTooLow, TooManyRequests

QUEUE_LOCK: Final = "\x01jobs"
"""The key that a tenant with a limit on queued jobs locks while jobs are counted and added; no client can send it."""
SOON_SECONDS: Final = 10
"""`retry_after` for a tenant whose queue is full."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """What the parts of a bulk have reserved so far."""

    jobs: int
    cost: int
    queued: int
    """The tenant's queued jobs, these included."""


def reserve_quota(
    session: Session,
    tenant_id: str,
    jobs: int,
    cost: int,
    earlier: Reserved | None = None,
    intake_state: IntakeState | None = None,
) -> Reserved:
    """Enforce a tenant's limits on queued jobs and on cost units per day, and count these jobs as granted.

    `earlier` is what the earlier parts of the same bulk have reserved; with it, the queued jobs are not counted again
    until `require_room`. An `intake_state` saves reading the limits.

    Raises TooManyRequests with `retry_after` in seconds, or LimitTooLow for what no later time would allow.
    """
    query = select(Tenant.max_queued, Tenant.cost_per_day).where(Tenant.id == tenant_id)
    tenant = session.execute(query).one_or_none() if intake_state is None else intake_state
    before = Reserved(0, 0, 0) if earlier is None else earlier
    total = Reserved(before.jobs + jobs, before.cost + cost, before.queued + jobs)
    if tenant is None:
        return total
    if jobs:
        _refuse_beyond(total.jobs, tenant.max_queued, "max_queued", "jobs may be queued")
        _refuse_beyond(total.cost, tenant.cost_per_day, "cost_per_day", "cost units a day are granted")
    if jobs and tenant.max_queued is not None:
        lock_key(session, tenant_id, QUEUE_LOCK)
        if earlier is None:
            others = queries.queued_jobs(session, tenant_id, tenant.max_queued)
            total = replace(total, queued=total.queued + others)
        if total.queued > tenant.max_queued:
            are = total.queued - jobs
            message = f"At most {tenant.max_queued} jobs may be queued: {are} are, and this adds {jobs}."
            raise TooManyRequests(message, limit="max_queued", retry_after=SOON_SECONDS)
    if tenant.cost_per_day is not None:
        _charge(session, tenant_id, cost, tenant.cost_per_day)
    return total


def _refuse_beyond(wanted: int, limit: int | None, name: str, what: str) -> None:
    if limit is not None and wanted > limit:
        message = f"At most {limit} {what} for this tenant, and this alone needs {wanted}. Split it, or have it raised."
        raise LimitTooLow(message, limit=name)


def require_room(session: Session, bulk_id: str) -> None:
    """Enforce the limit on queued jobs for a bulk whose jobs are all stored: others may have queued jobs meanwhile.

    The jobs of bulks that are still loading do not count, so the first one to be complete is accepted. Raises
    TooManyRequests.
    """
    limited = select(Tenant.id, Tenant.max_queued).join(Bulk, Bulk.tenant_id == Tenant.id).where(Bulk.id == bulk_id)
    tenant = session.execute(limited.where(Tenant.max_queued.is_not(None))).one_or_none()
    if tenant is None:
        return
    lock_key(session, tenant.id, QUEUE_LOCK)
    loading = (Bulk.tenant_id == tenant.id) & (Bulk.state == BulkState.LOADING) & (Bulk.id != bulk_id)
    others = session.scalars(select(Bulk.id).where(loading)).all()
    if queries.queued_jobs(session, tenant.id, tenant.max_queued + 1, without=others) > tenant.max_queued:
        message = f"At most {tenant.max_queued} jobs may be queued, and others were queued while this bulk was read."
        raise TooManyRequests(message, limit="max_queued", retry_after=SOON_SECONDS)


def refund(session: Session, tenant_id: str, jobs: Iterable[tuple[float, int]]) -> None:
    """Return the cost units of jobs that never ran, each (created at, cost), to the day on which they were charged."""
    costs: Counter[str] = Counter()
    for created_at, cost in jobs:
        costs[_date(created_at)] += cost
    for day, cost in sorted(costs.items()):
        mine = (Usage.tenant_id == tenant_id) & (Usage.day == day)
        left = case((Usage.cost > cost, Usage.cost - cost), else_=0)
        session.execute(update(Usage).where(mine).values(cost=left), execution_options=NO_SYNC)


def _charge(session: Session, tenant_id: str, cost: int, limit: int) -> None:
    day, left_seconds = _day(session)
    session.execute(insert_new(session, Usage, "tenant_id", "day").values(tenant_id=tenant_id, day=day, cost=0))
    mine = (Usage.tenant_id == tenant_id) & (Usage.day == day)
    added = update(Usage).where(mine).values(cost=Usage.cost + cost).returning(Usage.cost)
    total = session.scalar(added, execution_options=NO_SYNC) or 0
    if total > limit:
        message = f"At most {limit} cost units a day are granted: {total - cost} are used, and this needs {cost}."
        raise TooManyRequests(message, limit="cost_per_day", retry_after=left_seconds)


def _day(session: Session) -> tuple[str, int]:
    """Today in UTC by the database's clock, and the seconds until it ends."""
    moment = clock(session)
    return _date(moment), int(DAY_SECONDS - moment % DAY_SECONDS) + 1


def _date(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).date().isoformat()
