"""Jobs that end without a result: canceled, expired, or dead letters; and retries of dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, select, text, update
from sqlalchemy.orm import Session, aliased

from limner_shared import tracing
from limner_shared.db import release_queries
from limner_shared.db.engine import now
from limner_shared.db.ledger.attempts import requeue
from limner_shared.db.ledger.counting import DEAD_LETTER, LEASE_LOST
from limner_shared.db.ledger.erasure import Forgotten
from limner_shared.db.ledger.intake import submit
from limner_shared.db.ledger.quotas import reserve_quota
from limner_shared.db.ledger.transitions import error_values, lock, transition
from limner_shared.db.ledger.types import Change, EventKind, NewJob
from limner_shared.db.many_rows import NO_SYNC
from limner_shared.db.release_queries import ALL_JOBS
from limner_shared.db.tables import DEAD, Input, Job
from limner_shared.domain.jobs import LOSSES_TOGETHER, JobSpec, JobState, Priority, sources
from limner_shared.errors import DeadlineExceeded, ModelUnavailable, WorkerLost

REAPED_AT_ONCE: Final = 1000


def cancel(session: Session, condition: ColumnElement[bool]) -> list[Change]:
    """queued or running → canceled. A worker that runs the job is notified and drops it at its next step."""
    values = {"state": JobState.CANCELED, "finished_at": now(), "lease_until": None}
    return transition(session, condition & Job.state.in_(sources(JobState.CANCELED)), values, EventKind.CANCELED)


def expire(session: Session, limit: int, scope: ColumnElement[bool] = ALL_JOBS) -> list[Change]:
    """queued or running → failed for jobs in `scope` that are past their deadlines, at most `limit`."""
    late = lock(session, select(Job.id).where(release_queries.OVERDUE, scope).limit(limit))
    values = error_values(DeadlineExceeded()) | {"state": JobState.FAILED, "finished_at": now(), "lease_until": None}
    some = Job.id.in_(late) & Job.state.in_(sources(JobState.FAILED))
    return transition(session, some, values, EventKind.FAILED) if late else []


def fail_unknown(
    session: Session, models: Sequence[str], seconds: float, limit: int, scope: ColumnElement[bool] = ALL_JOBS
) -> list[Change]:
    """queued → failed for jobs in `scope` of models that are no longer served, unless they were created, or released,
    within the last `seconds`: a worker that still serves the model may claim them.
    """
    some: list[str] = []
    for which in release_queries.unserved_jobs(session, models, seconds):
        some += lock(session, select(Job.id).where(which, scope).limit(limit - len(some)))
    error = ModelUnavailable(
        "The job's model is no longer served here: choose another model, or submit the job again later."
    )
    values = error_values(error) | {"state": JobState.FAILED, "finished_at": now()}
    return (
        transition(session, Job.id.in_(some) & (Job.state == JobState.QUEUED), values, EventKind.FAILED) if some else []
    )


def reap(
    session: Session, max_solo_losses: int, limit: int = REAPED_AT_ONCE, scope: ColumnElement[bool] = ALL_JOBS
) -> list[Change]:
    """running → queued for jobs whose leases have expired; → failed once `max_solo_losses` workers were lost over a job
    that ran alone.

    At most `limit` jobs in `scope`, those whose leases expired first.

    The first LOSSES_TOGETHER losses are not charged: a job may have shared the worker with the job that killed it,
    which running alone finds out.
    """
    leases = select(Job.id).where(release_queries.LEASE_EXPIRED, scope).order_by(Job.lease_until)
    ids = lock(session, leases.limit(limit))
    if not ids:
        return []
    expired = Job.id.in_(ids) & (Job.state == JobState.RUNNING)
    most = LOSSES_TOGETHER + max_solo_losses
    error = WorkerLost(
        f"{most} workers were lost while running this job, the last {max_solo_losses} of them running it alone:"
        " check what is special about it, then retry it with `limner dead-letters retry JOB`."
    )
    values = error_values(error) | {"state": JobState.FAILED, "losses": Job.losses + 1, "finished_at": now()}
    given_up = expired & (Job.losses + 1 >= most)
    dead = transition(session, given_up, values, EventKind.FAILED, {"reason": DEAD_LETTER})
    return dead + requeue(session, expired, losses=1, reason=LEASE_LOST)


def retry_dead(session: Session, tenant_id: str, job_ids: Sequence[str] | None, limit: int) -> list[Change]:
    """Queue dead letters again as new jobs, each once, with as much time as they had; `job_ids` None means all. The
    dead letters stay unchanged.

    Jobs whose stored spec is damaged, or whose prompt or input pictures were deleted, are left out. Raises
    TooManyRequests or LimitTooLow, and queues none, if the tenant's limits do not admit all of them.
    """
    if dead := _lock_dead(session, tenant_id, job_ids, limit):
        reserve_quota(session, tenant_id, len(dead), sum(job.cost for job, _ in dead))
    changes: list[Change] = []
    for job, spec in dead:
        new = NewJob(
            spec,
            job.cost,
            list(Priority)[job.priority],
            job.extra,
            expires_in=None if job.deadline_at is None else job.deadline_at - job.created_at,
            retry_of=job.id,
            max_retries=job.max_retries,
            webhook=job.webhook,
            traceparent=tracing.current_traceparent(),
        )
        [change] = submit(session, tenant_id, [new]).changes
        if job.interpretation is not None:  # what the description asks for is in the spec already
            understood = update(Job).where(Job.id == change.id).values(interpretation=job.interpretation)
            session.execute(understood, execution_options=NO_SYNC)
        changes.append(change)
    return changes


def _lock_dead(
    session: Session, tenant_id: str, job_ids: Sequence[str] | None, limit: int
) -> list[tuple[Job, JobSpec]]:
    """The oldest dead letters that can be queued again, and were not yet."""
    again = aliased(Job)
    done = select(again.id).where(again.retry_of == Job.id).exists()
    query = select(Job).where(Job.tenant_id == tenant_id, text(f"jobs.{DEAD}"), ~done).order_by(Job.id).limit(limit)
    if job_ids is not None:
        query = query.where(Job.id.in_(job_ids))
    found: list[tuple[Job, JobSpec]] = []
    after = ""
    while True:
        page = session.scalars(query.where(Job.id > after).with_for_update()).all()
        found += _retryable(session, page)
        if len(page) < limit or len(found) >= limit:
            return found[:limit]
        after = page[-1].id


def _retryable(session: Session, jobs: Sequence[Job]) -> list[tuple[Job, JobSpec]]:
    """Those of the jobs whose specs can be read, and whose prompts and input pictures are kept."""
    read = [(job, JobSpec.read(job.spec)) for job in jobs if not job.forgotten & Forgotten.PROMPT]
    whole = [(job, spec) for job, spec in read if spec is not None]
    with_inputs = [job.id for job, spec in whole if spec.inputs]
    kept = set(session.scalars(select(Input.job_id).where(Input.job_id.in_(with_inputs))))
    return [(job, spec) for job, spec in whole if not spec.inputs or job.id in kept]
