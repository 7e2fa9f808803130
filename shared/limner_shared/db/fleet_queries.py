"""What the operator sees of all tenants: the running jobs by model and by worker, and what ended in the last hour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import BigInteger, case, cast, func, select, text
from sqlalchemy.orm import Session

from limner_shared.db import queries, release_queries
from limner_shared.db.engine import now
from limner_shared.db.tables import ACTIVE, FINISHED, RUNNING, Job, Tenant
from limner_shared.domain.estimates import FinishedRun
from limner_shared.domain.jobs import JobState, Priority


class HeldJob(NamedTuple):
    """A running job and the worker that holds it."""

    id: str
    model: str
    owner: str | None
    attempt: int
    started_at: float | None


class TenantQueue(NamedTuple):
    """The jobs of one tenant."""

    tenant: str
    """Its name."""
    waiting: int
    running: int


class EndedMinute(NamedTuple):
    """The jobs that ended in one minute, all models and tenants together."""

    succeeded: int
    failed: int
    within: tuple[int, ...]
    """How many of the succeeded ones took at most each of the given times from their acceptance."""


def running_by_model(session: Session) -> dict[str, int]:
    """The number of running jobs of each model."""
    query = select(Job.model, func.count()).where(text(RUNNING)).group_by(Job.model)
    return {row[0]: row[1] for row in session.execute(query)}


def held_jobs(session: Session, limit: int) -> list[HeldJob]:
    """The running jobs, the oldest first."""
    query = select(Job.id, Job.model, Job.owner, Job.attempt, Job.started_at).where(text(RUNNING))
    return [HeldJob(*row) for row in session.execute(query.order_by(Job.lease_until).limit(limit))]


def running_owners(session: Session) -> set[str]:
    """The ids of the workers that run jobs."""
    return {owner for owner in session.scalars(select(Job.owner).where(text(RUNNING)).distinct()) if owner}


def tenant_queues(session: Session, models: Sequence[str], limit: int, counted: int) -> tuple[list[TenantQueue], bool]:
    """The tenants with jobs of these models that wait for their release, or that are released or running: at most
    `limit`, those with the most waiting jobs first; and whether there are others. Counting a tenant's waiting jobs
    stops at `counted`.

    One index probe finds each tenant, and a range of an index counts its jobs.
    """
    # By the index of active jobs: SQLite would read all jobs to group the running ones alone by their tenants.
    runs = func.sum(case((Job.state == JobState.RUNNING, 1), else_=0))
    query = select(Job.tenant_id, runs).where(text(ACTIVE)).group_by(Job.tenant_id)
    running = {row[0]: int(row[1]) for row in session.execute(query)}
    found = set(running)
    for model in models:
        for priority in Priority:
            found.update(release_queries.waiting_tenants(session, model, priority.rank, limit + 1))
    some = sorted(found, key=lambda tenant: (tenant not in running, tenant))[:limit]
    names = {row[0]: row[1] for row in session.execute(select(Tenant.id, Tenant.name).where(Tenant.id.in_(some)))}
    queues = [
        TenantQueue(names[each], queries.queued_jobs(session, each, counted), running.get(each, 0)) for each in some
    ]
    return sorted(queues, key=lambda queue: (-queue.waiting, queue.tenant)), len(found) > limit


def runs_by_owner(
    session: Session, models: Sequence[str], since_seconds: float, limit: int
) -> dict[str, list[FinishedRun]]:
    """The latest jobs of these models that succeeded at their first attempt, by the worker that drew them: at most
    `limit` of each model, not older than `since_seconds`.
    """
    found: dict[str, list[FinishedRun]] = {}
    for model in models:
        for owner, run in queries.latest_runs_of_workers(session, model, since_seconds, limit):
            if owner is not None:
                found.setdefault(owner, []).append(run)
    return found


def ended_by_minute(session: Session, minutes: int, seconds: Sequence[float]) -> dict[int, EndedMinute]:
    """What ended in the last `minutes`, by the minute since 1970; `seconds` are the bounds that `within` counts by.

    The index of each tenant's ended jobs serves it, so that it reads only these.
    """
    minute = cast(Job.finished_at, BigInteger) // 60
    took = Job.finished_at - Job.created_at
    succeeded = Job.state == JobState.SUCCEEDED
    counts = [succeeded, Job.state == JobState.FAILED, *(succeeded & (took <= bound) for bound in seconds)]
    query = (
        select(minute, *(func.sum(case((each, 1), else_=0)) for each in counts))
        .select_from(Tenant)
        .join(Job, Job.tenant_id == Tenant.id)
        .where(text(FINISHED), Job.forgotten >= 0, Job.finished_at > now() - 60 * minutes)
        .group_by(minute)
    )
    rows = [[int(value) for value in row] for row in session.execute(query)]
    return {row[0]: EndedMinute(row[1], row[2], tuple(row[3:])) for row in rows}
