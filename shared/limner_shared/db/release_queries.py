"""The queries of the dispatcher, and of a worker without Redis: jobs that wait for their release, and overdue work.
Each is a read served by an index, regardless of the number of jobs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from random import sample
from typing import Final

from sqlalchemy import (
    ColumnElement,
    ScalarSelect,
    Subquery,
    and_,
    case,
    exists,
    false,
    func,
    literal,
    or_,
    select,
    text,
    true,
    tuple_,
)
from sqlalchemy.orm import Session, aliased

from limner_shared.db import pause_queries
from limner_shared.db.engine import now
from limner_shared.db.tables import (
    ACTIVE,
    RELEASED,
    RUNNING,
    SCHEDULED,
    WAITING,
    WITH_DEADLINE,
    Bulk,
    IdempotencyKey,
    Job,
    Tenant,
)
from limner_shared.domain.bulks import BulkState
from limner_shared.domain.jobs import LOSSES_TOGETHER, Lane, Priority
from limner_shared.domain.pauses import Paused
from limner_shared.domain.waiting_queue import QueuedJob, WaitingQueue

QUEUE_ORDER: Final = (Job.tenant_id, Job.queue_key, Job.id)
"""The order of the index of waiting jobs."""


@dataclass(frozen=True, slots=True)
class QueueSize:
    """How many jobs a queue has, at most COUNTED, and the seconds since the oldest of them was accepted."""

    jobs: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class Share:
    """A tenant's weight and limit, and its active jobs: released or running."""

    weight: float
    """Relative to other tenants: one of weight 2 gets twice the cost units of one of weight 1."""
    max_running: int | None
    active: int


ALL_JOBS: Final = true()
LEASE_EXPIRED: Final = and_(text(RUNNING), Job.lease_until <= now())
OVERDUE: Final = and_(text(WITH_DEADLINE), Job.deadline_at <= now())
"""Past its deadline."""
DUE: Final = and_(text(SCHEDULED), Job.not_before <= now())
"""Scheduled, and its time has come."""
COUNTED: Final = 100_000
EMPTY: Final = QueueSize(0, 0.0)


def unserved_models(session: Session, served: Collection[str]) -> set[str]:
    """The models that are not `served` and have jobs that wait for their release, or that no worker has claimed."""
    return ({*_models(session, WAITING)} | {*_models(session, RELEASED)}) - {*served}


def unserved_jobs(session: Session, served: Collection[str], seconds: float) -> list[ColumnElement[bool]]:
    """The conditions of the jobs of such models, each served by an index: those that wait since their creation, and
    those released, more than `seconds` ago. None if there are no such models.
    """
    gone = unserved_models(session, served)
    waiting = and_(text(WAITING), Job.created_at < now() - seconds)
    released = and_(text(RELEASED), Job.released_at < now() - seconds)
    return [and_(Job.model.in_(gone), which) for which in (waiting, released)] if gone else []


def _models(session: Session, condition: str) -> list[str]:
    """The models with queued jobs that meet the condition of a partial index; one probe of it each."""
    models = select(func.min(Job.model).label("model")).where(text(condition)).cte("models", recursive=True)
    following = select(func.min(Job.model)).where(text(condition), Job.model > models.c.model).scalar_subquery()
    models = models.union_all(select(following).where(models.c.model.is_not(None)))
    return list(session.scalars(select(models.c.model).where(models.c.model.is_not(None))))


def waiting_tenants(session: Session, model: str, rank: int, limit: int | None = None) -> list[str]:
    """All tenants with waiting jobs of a model and priority class, or the first `limit`; one index probe each,
    regardless of the number of queues.
    """
    waiting = select(Job.tenant_id).where(Job.model == model, Job.priority == rank, text(WAITING))
    first = waiting.order_by(*QUEUE_ORDER).limit(1).scalar_subquery()
    tenants = select(first.label("tenant")).cte("tenants", recursive=True)
    following = waiting.where(Job.tenant_id > tenants.c.tenant).order_by(*QUEUE_ORDER).limit(1).scalar_subquery()
    tenants = tenants.union_all(select(following).where(tenants.c.tenant.is_not(None)))
    return list(session.scalars(select(tenants.c.tenant).where(tenants.c.tenant.is_not(None)).limit(limit)))


def queued_models(session: Session, models: Sequence[str]) -> list[str]:
    """Those of these models that have queued jobs, released or not; two index probes each."""
    queued = [select(Job.id).where(Job.model == model) for model in models]
    found = [or_(exists(jobs.where(text(WAITING))), exists(jobs.where(text(RELEASED)))) for jobs in queued]
    return [model for model, has_jobs in zip(models, session.execute(select(*found)).one(), strict=True) if has_jobs]


def waiting_queues(
    session: Session, model: str, rank: int, tenant_id: str, after: str, limit: int
) -> list[WaitingQueue]:
    """A tenant's next queues after the key `after`, in key order; one index probe each."""

    def head_after(queue_key: ColumnElement[str]) -> ScalarSelect[str]:
        # After the tenant's last queue the next row is another tenant's. So the order alone selects one index,
        # regardless of the planner's estimate of the number of queues.
        following = select(case((waiting.c.tenant_id == tenant_id, waiting.c.id))).where(
            waiting.c.model == model,
            waiting.c.priority == rank,
            tuple_(waiting.c.tenant_id, waiting.c.flow) > tuple_(literal(tenant_id), queue_key),
            text("waiting.state = 'queued' AND waiting.released_at IS NULL AND waiting.not_before IS NULL"),
        )
        order = (waiting.c.tenant_id, waiting.c.flow, waiting.c.id)
        return following.order_by(*order).limit(1).scalar_subquery()

    waiting = Job.__table__.alias("waiting")
    heads = select(head_after(literal(after)).label("id"), literal(1).label("number")).cte("heads", recursive=True)
    head = aliased(Job)
    # An expression, because SQLite uses an index for a row comparison only if the other side is not a column.
    step = select(head_after(head.queue_key.concat("")), heads.c.number + 1).join_from(
        heads, head, head.id == heads.c.id
    )
    heads = heads.union_all(step.where(heads.c.number < limit))
    query = (
        select(Job.queue_key, Bulk.id.is_(None) | (Bulk.state == BulkState.OPEN), Job.id, Job.cost, Job.losses)
        .select_from(heads)
        .join(Job, Job.id == heads.c.id)
        .outerjoin(Bulk, Bulk.id == Job.queue_key)
        .order_by(heads.c.number)
    )
    rows = session.execute(query)
    return [WaitingQueue(row[0], bool(row[1]), QueuedJob(row[2], row[3], row[4], row[0])) for row in rows]


def waiting_jobs(
    session: Session, model: str, rank: int, tenant_id: str, queue_key: str, after: str, limit: int
) -> list[QueuedJob]:
    """The next jobs of a tenant's queue after an id, the oldest first."""
    # Row comparisons, because without statistics SQLite would serve equalities from an index of all queued jobs.
    query = select(Job.id, Job.cost, Job.losses).where(
        Job.model == model,
        Job.priority == rank,
        tuple_(*QUEUE_ORDER) > tuple_(tenant_id, queue_key, after),
        tuple_(*QUEUE_ORDER[:2]) <= tuple_(tenant_id, queue_key),
        text(WAITING),
    )
    rows = session.execute(query.order_by(*QUEUE_ORDER).limit(limit))
    return [QueuedJob(row[0], row[1], row[2], queue_key) for row in rows]


def next_jobs(session: Session, model: str, limit: int) -> list[str]:
    """The jobs that a worker may claim without a message: released ones, then the heads of the queues, by priority
    class.

    Jobs that must run alone are left out: they need a worker that knows this. The tenants are in random order, because
    no turns are remembered here. Paused jobs are left out too.
    """
    paused = pause_queries.paused(session)
    if model in paused.models:
        return []
    released = select(Job.id).where(Job.model == model, Job.lane < Lane.ALONE, text(RELEASED))
    if paused.tenants:
        released = released.where(Job.tenant_id.not_in(paused.tenants))
    found = list(session.scalars(released.order_by(Job.lane, Job.released_at).limit(limit)))
    for priority in Priority:
        tenants = waiting_tenants(session, model, priority.rank) if len(found) < limit else []
        tenants = [tenant for tenant in tenants if tenant not in paused.tenants]
        share = 1 + limit // max(1, len(tenants))
        for tenant in sample(tenants, len(tenants)):
            if len(found) >= limit:
                break
            for queue in waiting_queues(session, model, priority.rank, tenant, "", share):
                found += _claimable(session, model, priority.rank, tenant, queue, share)
    return found[:limit]


def _claimable(session: Session, model: str, rank: int, tenant_id: str, queue: WaitingQueue, limit: int) -> list[str]:
    if not queue.open:
        return []
    jobs = waiting_jobs(session, model, rank, tenant_id, queue.queue_key, "", limit)
    return [job.id for job in jobs if job.losses < LOSSES_TOGETHER]


def backlog_size(session: Session, model: str, rank: int) -> QueueSize:
    """The jobs of a model and priority class that wait for their release. Reads at most COUNTED entries of an index."""
    counted = _backlog(model, rank)
    jobs, first = session.execute(select(func.count(), func.min(counted.c.id)).select_from(counted)).one()
    return _size(session, jobs, first)


def backlog_sizes(session: Session, model: str, rank: int, paused: Paused) -> tuple[QueueSize, QueueSize]:
    """The same jobs in two parts: those that may be released, and those that wait for the end of a pause of their
    model, tenant or bulk. Reads no more rows, and one for each bulk.
    """
    if model in paused.models:
        return EMPTY, backlog_size(session, model, rank)
    counted = _backlog(model, rank)
    queues = (
        select(
            counted.c.tenant_id, counted.c.queue_key, func.count().label("jobs"), func.min(counted.c.id).label("first")
        )
        .group_by(counted.c.tenant_id, counted.c.queue_key)
        .subquery()
    )
    is_held = queues.c.tenant_id.in_(paused.tenants) | func.coalesce(Bulk.state == BulkState.PAUSED, false())
    held = case((is_held, 1), else_=0).label("held")
    query = select(held, func.sum(queues.c.jobs), func.min(queues.c.first)).select_from(queues)
    query = query.outerjoin(Bulk, Bulk.id == queues.c.queue_key).group_by(held)
    parts = {row[0]: _size(session, int(row[1]), row[2]) for row in session.execute(query).all()}
    return parts.get(0, EMPTY), parts.get(1, EMPTY)


def _backlog(model: str, rank: int) -> Subquery:
    """The first COUNTED jobs of a model and priority class that wait for their release."""
    # A row comparison, because without statistics SQLite would serve equalities from an index of all queued jobs.
    prefix = (Job.model, Job.priority)
    some = select(Job.id, Job.tenant_id, Job.queue_key).where(
        tuple_(*prefix) >= tuple_(model, rank), tuple_(*prefix) <= tuple_(model, rank), text(WAITING)
    )
    return some.order_by(*prefix, *QUEUE_ORDER).limit(COUNTED).subquery()


def _size(session: Session, jobs: int, first: str | None) -> QueueSize:
    if first is None:
        return EMPTY
    age = session.scalar(select(now() - Job.created_at).where(Job.id == first))
    return QueueSize(jobs, age or 0.0)


def released_sizes(session: Session, model: str) -> dict[Lane, QueueSize]:
    """The released jobs of a model that no worker has claimed, by lane; the release window limits their number."""
    query = select(Job.lane, func.count(), now() - func.min(Job.created_at)).where(Job.model == model, text(RELEASED))
    return {Lane(row[0]): QueueSize(row[1], row[2]) for row in session.execute(query.group_by(Job.lane))}


def has_job(session: Session, which: ColumnElement[bool]) -> bool:
    """Whether a job meets this condition."""
    return session.scalar(select(literal(1)).where(which).limit(1)) is not None


def job_ids(session: Session, which: ColumnElement[bool], limit: int) -> list[str]:
    """The ids of jobs that meet this condition, at most `limit`."""
    return list(session.scalars(select(Job.id).where(which).limit(limit)))


def has_old_keys(session: Session, seconds: float) -> bool:
    """Whether an idempotency key is older than `seconds`."""
    query = select(IdempotencyKey.created_at).where(IdempotencyKey.created_at < now() - seconds).limit(1)
    return session.scalar(query) is not None


def unclaimed_jobs(session: Session, model: str) -> dict[Lane, int]:
    """The number of released, unclaimed jobs of a model, by lane."""
    query = select(Job.lane, func.count()).where(Job.model == model, text(RELEASED)).group_by(Job.lane)
    return {Lane(row[0]): row[1] for row in session.execute(query)}


def shares(session: Session, tenant_ids: Sequence[str]) -> dict[str, Share]:
    """The share of each of these tenants."""
    active = (
        select(Job.tenant_id, func.count().label("jobs"))
        .where(Job.tenant_id.in_(tenant_ids), text(ACTIVE))
        .group_by(Job.tenant_id)
        .subquery()
    )
    query = (
        select(Tenant.id, Tenant.weight, Tenant.max_running, func.coalesce(active.c.jobs, 0))
        .outerjoin(active, active.c.tenant_id == Tenant.id)
        .where(Tenant.id.in_(tenant_ids))
    )
    return {row[0]: Share(row[1], row[2], row[3]) for row in session.execute(query)}
