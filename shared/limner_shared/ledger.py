"""Every write to a job, an image, a bulk or an event. Each function is one statement or a few, inside the caller's
transaction (`Database.write`); each change of state is a conditional update, so that a late or doubled caller
changes nothing and is told so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Row, delete, func, insert, select, update
from sqlalchemy.orm import Session

from limner_shared.database import now
from limner_shared.errors import IdempotencyConflict, LimnerError, WorkerLost
from limner_shared.ids import new_id
from limner_shared.jobs import JobSpec, JobState, Priority, sources
from limner_shared.tables import Bulk, Event, IdempotencyKey, Image, Job, Tenant

LOCAL_TENANT: Final = "tenant_local"
"""Who submits while no keys are required."""

SILENT: Final = {"synchronize_session": False}


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be queued."""

    spec: JobSpec
    cost: int
    priority: Priority
    metadata: Mapping[str, Any] = field(default_factory=dict)
    bulk_line: int | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A job whose state has just changed: what the hints tell pollers and streams after the commit."""

    id: str
    tenant_id: str
    bulk_id: str | None
    model: str
    state: JobState
    version: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that the caller now owns, until its lease ends; `attempt` fences whatever it writes."""

    id: str
    tenant_id: str
    bulk_id: str | None
    attempt: int
    version: int
    priority: int
    spec: JobSpec

    @property
    def change(self) -> Change:
        """What the claim changed."""
        return Change(self.id, self.tenant_id, self.bulk_id, self.spec.model, JobState.RUNNING, self.version)


@dataclass(frozen=True, slots=True)
class NewImage:
    """A picture whose bytes are stored already."""

    sha256: str
    media_type: str
    width: int
    height: int
    size_bytes: int
    seed: int
    receipt: Mapping[str, Any]


class Released(NamedTuple):
    """A job that may be published now; `priority` is its class's rank, 0 first."""

    id: str
    priority: int


@dataclass(frozen=True, slots=True)
class Submission:
    """What `submit` queued; `released` must be published after the commit, the rest is the dispatcher's."""

    changes: list[Change]
    released: list[Released]


_CHANGED = (Job.id, Job.tenant_id, Job.bulk_id, Job.model, Job.state, Job.version, Job.attempt)


def ensure_tenant(session: Session, tenant_id: str, name: str) -> None:
    """Make a tenant if it is not there yet."""
    if session.get(Tenant, tenant_id) is None:
        session.execute(insert(Tenant).values(id=tenant_id, name=name, created_at=now()))


# --- into the queue -----------------------------------------------------------------------------------------------


def submit(
    session: Session, tenant_id: str, new: Sequence[NewJob], *, window: int = 0, bulk_id: str | None = None
) -> Submission:
    """Queue jobs of one model and priority; where the `window` has room for all, they are released at once."""
    rank = new[0].priority.rank
    at_once = window > 0 and window - _in_window(session, new[0].spec.model, rank) >= len(new)
    rows: list[dict[str, Any]] = [
        {
            "id": new_id("job"),
            "tenant_id": tenant_id,
            "bulk_id": bulk_id,
            "bulk_line": job.bulk_line,
            "state": JobState.QUEUED,
            "version": 1,
            "priority": job.priority.rank,
            "model": job.spec.model,
            "cost": job.cost,
            "spec": job.spec.model_dump(mode="json"),
            "extra": dict(job.metadata),
            "attempt": 0,
            "losses": 0,
        }
        for job in new
    ]
    session.execute(insert(Job).values(created_at=now(), released_at=now() if at_once else None), rows)
    changes = [Change(row["id"], tenant_id, bulk_id, row["model"], JobState.QUEUED, 1) for row in rows]
    return Submission(changes, [Released(change.id, rank) for change in changes] if at_once else [])


def open_bulk(session: Session, tenant_id: str) -> str:
    """Begin a bulk; its jobs wait until `seal_bulk`."""
    bulk_id = new_id("bulk")
    values = {"id": bulk_id, "tenant_id": tenant_id, "state": "loading", "total": 0}
    session.execute(insert(Bulk).values(created_at=now(), touched_at=now(), **values))
    return bulk_id


def touch_bulk(session: Session, bulk_id: str) -> None:
    """Say that whoever loads this bulk is alive."""
    session.execute(update(Bulk).where(Bulk.id == bulk_id).values(touched_at=now()), execution_options=SILENT)


def seal_bulk(session: Session, bulk_id: str, total: int) -> None:
    """The bulk is complete: its jobs may be released."""
    session.execute(
        update(Bulk).where(Bulk.id == bulk_id, Bulk.state == "loading").values(state="open", total=total),
        execution_options=SILENT,
    )


def drop_bulk(session: Session, bulk_id: str) -> None:
    """Forget a bulk that was never sealed, and all its jobs."""
    if session.scalar(select(Bulk.state).where(Bulk.id == bulk_id).with_for_update()) == "loading":
        session.execute(delete(Job).where(Job.bulk_id == bulk_id), execution_options=SILENT)
        session.execute(delete(IdempotencyKey).where(IdempotencyKey.resource_id == bulk_id), execution_options=SILENT)
        session.execute(delete(Bulk).where(Bulk.id == bulk_id), execution_options=SILENT)


def stale_bulks(session: Session, seconds: float) -> list[str]:
    """Bulks that are loading, and whose loader has not been heard of for so long: its process died."""
    return list(session.scalars(select(Bulk.id).where(Bulk.state == "loading", Bulk.touched_at < now() - seconds)))


def remember(session: Session, tenant_id: str, key: str, digest: str, resource_id: str) -> None:
    """Note what an idempotency key has made, in the transaction that makes it; a second one for a key cannot commit."""
    values = {"tenant_id": tenant_id, "key": key, "digest": digest, "resource_id": resource_id}
    session.execute(insert(IdempotencyKey).values(created_at=now(), **values))


def recall(session: Session, tenant_id: str, key: str, digest: str) -> str | None:
    """What this key has made for the same request, if anything. Raises IdempotencyConflict for another request."""
    found = session.get(IdempotencyKey, (tenant_id, key))
    if found is not None and found.digest != digest:
        raise IdempotencyConflict
    return None if found is None else found.resource_id


def forget_keys(session: Session, seconds: float) -> None:
    """Delete the idempotency keys that are older."""
    old = IdempotencyKey.created_at < now() - seconds
    session.execute(delete(IdempotencyKey).where(old), execution_options=SILENT)


def _in_window(session: Session, model: str, rank: int) -> int:
    unclaimed = (Job.state == JobState.QUEUED) & Job.released_at.is_not(None)
    return session.scalar(select(func.count()).where(Job.model == model, Job.priority == rank, unclaimed)) or 0


# --- into Redis ---------------------------------------------------------------------------------------------------


def release(session: Session, model: str, window: int) -> list[Released]:
    """Release the next queued jobs of a model: publish them after the commit.

    Each priority has a window of its own, so that a backlog of low ones never keeps a higher one out.
    """
    return [job for priority in Priority for job in _release_class(session, model, priority.rank, window)]


def _release_class(session: Session, model: str, rank: int, window: int) -> list[Released]:
    room = window - _in_window(session, model, rank)
    if room <= 0:
        return []
    loading = select(Bulk.id).where(Bulk.state == "loading")
    chosen = (
        select(Job.id)
        .where(Job.model == model, Job.priority == rank, Job.state == JobState.QUEUED, Job.released_at.is_(None))
        .where(Job.bulk_id.is_(None) | Job.bulk_id.not_in(loading))
        .order_by(Job.id)
        .limit(room)
        .with_for_update(skip_locked=True)
    )
    return _mark_released(session, Job.id.in_(chosen))


def release_again(session: Session, model: str, seconds: float) -> list[Released]:
    """Mark anew what was released at least so long ago and is still unclaimed: Redis may have forgotten it."""
    old = (Job.model == model) & (Job.state == JobState.QUEUED) & (Job.released_at < now() - seconds)
    return _mark_released(session, old)


def _mark_released(session: Session, condition: ColumnElement[bool]) -> list[Released]:
    statement = update(Job).where(condition).values(released_at=now()).returning(Job.id, Job.priority)
    rows = session.execute(statement, execution_options=SILENT).all()
    return sorted((Released(row.id, row.priority) for row in rows), key=lambda job: (job.priority, job.id))


# --- a worker's attempt -------------------------------------------------------------------------------------------


def claim(session: Session, job_ids: Iterable[str], owner: str, lease_seconds: float) -> list[Claim]:
    """queued → running for whichever of these are still queued. A duplicate or stale message finds nothing to claim."""
    chosen = (
        select(Job.id)
        .where(Job.id.in_(list(job_ids)), Job.state.in_(sources(JobState.RUNNING)))
        .with_for_update(skip_locked=True)
    )
    statement = (
        update(Job)
        .where(Job.id.in_(chosen))
        .values(
            state=JobState.RUNNING,
            version=Job.version + 1,
            attempt=Job.attempt + 1,
            owner=owner,
            lease_until=now() + lease_seconds,
            started_at=func.coalesce(Job.started_at, now()),
        )
        .returning(Job.id, Job.tenant_id, Job.bulk_id, Job.attempt, Job.version, Job.priority, Job.spec)
    )
    rows = session.execute(statement, execution_options=SILENT).all()
    _record(session, "claimed", [(row.id, row.attempt, {"owner": owner}) for row in rows])
    return [
        Claim(
            row.id,
            row.tenant_id,
            row.bulk_id,
            row.attempt,
            row.version,
            row.priority,
            JobSpec.model_validate(row.spec),
        )
        for row in rows
    ]


def renew(session: Session, owner: str, job_ids: Iterable[str], lease_seconds: float) -> set[str]:
    """Extend the leases of all these jobs in one statement; those not returned are no longer the owner's."""
    statement = (
        update(Job)
        .where(Job.id.in_(list(job_ids)), Job.owner == owner, Job.state == JobState.RUNNING)
        .values(lease_until=now() + lease_seconds)
        .returning(Job.id)
    )
    return set(session.scalars(statement, execution_options=SILENT))


def finish(session: Session, job_id: str, attempt: int, images: Sequence[NewImage]) -> Change | None:
    """running → succeeded with its images, if this attempt still owns the job; otherwise nothing, and None."""
    change = _close(session, Job.id == job_id, JobState.SUCCEEDED, {}, attempt)
    if change is None:
        return None
    rows = [
        {
            "id": new_id("img"),
            "job_id": job_id,
            "image_index": index,
            "sha256": image.sha256,
            "media_type": image.media_type,
            "width": image.width,
            "height": image.height,
            "size_bytes": image.size_bytes,
            "seed": image.seed,
            "receipt": dict(image.receipt),
        }
        for index, image in enumerate(images)
    ]
    session.execute(insert(Image).values(created_at=now()), rows)
    return change


def fail(session: Session, job_id: str, attempt: int, error: LimnerError) -> Change | None:
    """running → failed, if this attempt still owns the job; otherwise nothing, and None."""
    return _close(session, Job.id == job_id, JobState.FAILED, _error(error), attempt)


def hand_back(session: Session, owner: str, job_ids: Iterable[str]) -> list[Change]:
    """running → queued for what a stopping worker could not finish; not counted as a loss."""
    mine = (Job.id.in_(list(job_ids))) & (Job.owner == owner)
    return _requeue(session, mine, losses=0, reason="worker stopping")


def reap(session: Session, max_attempts: int) -> list[Change]:
    """Take back the jobs whose lease ran out: to the queue, or failed once `max_attempts` workers were lost."""
    expired = (Job.state == JobState.RUNNING) & (Job.lease_until < now())
    given_up = expired & (Job.losses + 1 >= max_attempts)
    error = WorkerLost(f"{max_attempts} workers in a row stopped while they had this job; submit it again to retry.")
    values = _error(error) | {"state": JobState.FAILED, "losses": Job.losses + 1, "finished_at": now()}
    lost = _transition(session, given_up & Job.state.in_(sources(JobState.FAILED)), values, "failed")
    return lost + _requeue(session, expired, losses=1, reason="lease lost")


def cancel(session: Session, condition: ColumnElement[bool]) -> list[Change]:
    """queued or running → canceled; the worker that runs one learns of it and drops it at its next step."""
    values = {"state": JobState.CANCELED, "finished_at": now(), "lease_until": None}
    return _transition(session, condition & Job.state.in_(sources(JobState.CANCELED)), values, "canceled")


def cancel_bulk(session: Session, bulk_id: str) -> list[Change]:
    """Cancel every job of a bulk that has not ended; what is left of it is then as it stays."""
    session.execute(update(Bulk).where(Bulk.id == bulk_id).values(state="canceled"), execution_options=SILENT)
    return cancel(session, Job.bulk_id == bulk_id)


def _close(
    session: Session, which: ColumnElement[bool], to: JobState, values: dict[str, Any], attempt: int
) -> Change | None:
    fence = which & (Job.attempt == attempt) & (Job.state == JobState.RUNNING)
    values = values | {"state": to, "finished_at": now(), "lease_until": None}
    changes = _transition(session, fence, values, to.value)
    return changes[0] if changes else None


def _requeue(session: Session, which: ColumnElement[bool], *, losses: int, reason: str) -> list[Change]:
    values = {
        "state": JobState.QUEUED,
        "owner": None,
        "lease_until": None,
        "released_at": None,
        "losses": Job.losses + losses,
    }
    return _transition(session, which & (Job.state == JobState.RUNNING), values, "requeued", {"reason": reason})


def _transition(
    session: Session,
    which: ColumnElement[bool],
    values: Mapping[Any, Any],
    kind: str,
    detail: Mapping[str, Any] | None = None,
) -> list[Change]:
    statement = update(Job).where(which).values({"version": Job.version + 1, **values}).returning(*_CHANGED)
    rows = session.execute(statement, execution_options=SILENT).all()
    _record(session, kind, [(row.id, row.attempt, dict(detail or {})) for row in rows])
    return [_change(row) for row in rows]


def _record(session: Session, kind: str, jobs: Sequence[tuple[str, int, dict[str, Any]]]) -> None:
    if jobs:
        rows = [
            {"job_id": job_id, "attempt": attempt, "kind": kind, "detail": detail} for job_id, attempt, detail in jobs
        ]
        session.execute(insert(Event).values(created_at=now()), rows)


def _change(row: Row[*tuple[Any, ...]]) -> Change:
    return Change(row.id, row.tenant_id, row.bulk_id, row.model, JobState(row.state), row.version)


def _error(error: LimnerError) -> dict[str, Any]:
    return {"error_code": error.code, "error_message": error.message, "error_retryable": error.retryable}
