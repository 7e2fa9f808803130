"""Submission: jobs, and the tenants' limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import case, select, update
from sqlalchemy.orm import Session

from limner_shared.db import pause_queries, queries, release_queries
from limner_shared.db.engine import clock, insert_new, now
from limner_shared.db.ledger.counting import count_submission
from limner_shared.db.ledger.idempotency import lock_key
from limner_shared.db.ledger.intake_state import IntakeState, read_intake_state
from limner_shared.db.ledger.search_index import add_words
from limner_shared.db.ledger.types import Change, NewJob, Released, Submission
from limner_shared.db.many_rows import NO_SYNC, insert_many
from limner_shared.db.tables import Bulk, Input, Job, Tenant, Usage
from limner_shared.domain.bulks import BulkState
from limner_shared.domain.ids import new_id
from limner_shared.domain.jobs import JobState, Lane, Priority
from limner_shared.domain.pauses import Paused
from limner_shared.errors import TooManyRequests

LOCAL_TENANT: Final = "tenant_local"
"""The tenant of all requests while keys are not required, and the operator's own."""
LOCAL_NAME: Final = "local"
"""Its name."""
QUEUE_LOCK: Final = "\x01jobs"
"""The key that a tenant with a limit on queued jobs locks while jobs are counted and added; no client can send it."""
SOON_SECONDS: Final = 10
"""`retry_after` for a tenant whose queue is full."""
DAY_SECONDS: Final = 86400


def ensure_tenant(session: Session, tenant_id: str, name: str) -> None:
    """Create a tenant if it does not exist."""
    session.execute(insert_new(session, Tenant, "id").values(id=tenant_id, name=name, created_at=now()))


def submit(
    session: Session,
    tenant_id: str,
    new: Sequence[NewJob],
    *,
    window: int = 0,
    bulk_id: str | None = None,
    intake_state: IntakeState | None = None,
) -> Submission:
    """Queue jobs of one model and priority. They are released at once if no jobs wait ahead of them, the `window`
    has room, none is scheduled for later, and neither their model nor their tenant is paused.

    An `intake_state` that was read in this transaction saves a statement.
    """
    if intake_state is None and window:
        intake_state = read_intake_state(session, tenant_id, new[0].spec.model, new[0].priority)
    moment = clock(session) if intake_state is None else intake_state.moment
    scheduled = any(_start(job, moment) is not None for job in new)
    lane = None
    if intake_state is not None and window and not scheduled:
        lane = _lane_at_once(session, tenant_id, new, window, intake_state)
    rows = [_row(job, tenant_id, bulk_id, moment, lane) for job in new]
    insert_many(session, Job, rows)
    add_words(session, [(row["id"], tenant_id, row["spec"], row["extra"]) for row in rows])
    _store_inputs(session, rows, new)
    count_submission(session, [(job.spec.model, job.priority) for job in new], bulk=bulk_id is not None)
    changes = [Change(row["id"], tenant_id, bulk_id, row["model"], JobState.QUEUED, 1) for row in rows]
    if lane is None or intake_state is None:
        return Submission(changes, [], rows=rows)
    released = [Released(row["id"], lane, moment, row["traceparent"]) for row in rows]
    return Submission(changes, released, rows=rows, ahead=intake_state.ahead(lane))


def as_stored(row: Mapping[str, Any]) -> Job:
    """A job that was just submitted, from its row of `Submission.rows`, as a query would return it."""
    values = {name: value for name, value in row.items() if name != "flow"}
    return Job(queue_key=row["flow"], retries=0, **values)


def reserve_quota(
    session: Session,
    tenant_id: str,
    jobs: int,
    cost: int,
    queued_before: int | None = None,
    intake_state: IntakeState | None = None,
) -> int:
    """Enforce a tenant's limits on queued jobs and on cost units per day, and count these jobs as granted.

    Returns the number of queued jobs including these; passed back as `queued_before`, it saves a count until
    `require_room`. An `intake_state` saves reading the limits. Raises TooManyRequests with `retry_after` in seconds.
    """
    query = select(Tenant.max_queued, Tenant.cost_per_day).where(Tenant.id == tenant_id)
    tenant = session.execute(query).one_or_none() if intake_state is None else intake_state
    queued = (queued_before or 0) + jobs
    if jobs and tenant is not None and tenant.max_queued is not None:
        lock_key(session, tenant_id, QUEUE_LOCK)
        if queued_before is None:
            queued += queries.queued_jobs(session, tenant_id, tenant.max_queued)
        if queued > tenant.max_queued:
            message = f"At most {tenant.max_queued} jobs may be queued: {queued - jobs} are, and this adds {jobs}."
            raise TooManyRequests(message, limit="max_queued", retry_after=SOON_SECONDS)
    if tenant is not None and tenant.cost_per_day is not None:
        _charge(session, tenant_id, cost, tenant.cost_per_day)
    return queued


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


def _lane_at_once(
    session: Session, tenant_id: str, new: Sequence[NewJob], window: int, intake_state: IntakeState
) -> Lane | None:
    """The lane into which these jobs may go now without passing jobs that come first; None leaves them to the
    dispatcher.
    """
    model, priority = new[0].spec.model, new[0].priority
    paused = pause_queries.paused(session) if intake_state.any_pause else Paused()
    if paused.holds(model, tenant_id):
        return None
    small = priority is not Priority.LOW and all(job.small for job in new)
    if small and not intake_state.is_active:
        lane = Lane.FIRST
    elif intake_state.max_running is not None or _others_wait(session, model, priority.rank, paused, intake_state):
        return None
    else:
        lane = Lane.of(priority.rank)
    room = window - intake_state.released(lane)
    return lane if room >= len(new) else None


def _others_wait(session: Session, model: str, rank: int, paused: Paused, intake_state: IntakeState) -> bool:
    """Whether jobs that may run wait for their release."""
    if not paused.tenants or not intake_state.others_wait:
        return intake_state.others_wait
    return not paused.tenants.issuperset(release_queries.waiting_tenants(session, model, rank))


def _store_inputs(session: Session, rows: Sequence[Mapping[str, Any]], new: Sequence[NewJob]) -> None:
    inputs = [
        {"job_id": row["id"], "sha256": digest}
        for row, job in zip(rows, new, strict=True)
        for digest in job.spec.inputs.values()
    ]
    insert_many(session, Input, inputs)


def _row(job: NewJob, tenant_id: str, bulk_id: str | None, moment: float, lane: Lane | None) -> dict[str, Any]:
    return {
        "id": new_id("job") if job.unique is None else job.unique.job_id,
        "tenant_id": tenant_id,
        "bulk_id": bulk_id,
        "bulk_line": job.bulk_line,
        "flow": bulk_id or tenant_id,  # the column's name
        "state": JobState.QUEUED,
        "version": 1,
        "priority": job.priority.rank,
        "model": job.spec.model,
        "cost": job.cost,
        "spec": job.spec.stored(),
        "extra": dict(job.metadata),
        "attempt": 0,
        "losses": 0,
        "created_at": moment,
        "released_at": None if lane is None else moment,
        "lane": lane,
        "deadline_at": None if job.expires_in is None else moment + job.expires_in,
        "retry_of": job.retry_of,
        "not_before": _start(job, moment),
        "max_retries": job.max_retries,
        "webhook": None if job.webhook is None else dict(job.webhook),
        "traceparent": job.traceparent,
        "indexed": True,
    }


def _start(job: NewJob, moment: float) -> float | None:
    """The time for which a job is scheduled; None if that is not in the future of `moment`."""
    return None if job.not_before is None or job.not_before <= moment else job.not_before


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
