"""The ledger's inputs and results, and the two writes of every state change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Select, update
from sqlalchemy.orm import Session

from limner_shared.db.engine import insert_many, now
from limner_shared.db.ledger.counting import count_transition
from limner_shared.db.tables import Bulk, Event, Job
from limner_shared.domain.jobs import JobSpec, JobState, Lane, Priority
from limner_shared.errors import LimnerError

NO_SYNC: Final = {"synchronize_session": False}
"""Execution options of a statement after which no object loaded before is used."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to queue. A `small` one may pass the others while its tenant has no active jobs."""

    spec: JobSpec
    cost: int
    priority: Priority
    metadata: Mapping[str, Any] = field(default_factory=dict)
    bulk_line: int | None = None
    expires_in: float | None = None
    small: bool = False
    retry_of: str | None = None
    not_before: float | None = None
    """The time before which it must not start, in seconds since 1970; a past one has no effect."""
    max_retries: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """A job whose state has changed: what the hints announce to pollers and streams after the commit."""

    id: str
    tenant_id: str
    bulk_id: str | None
    model: str
    state: JobState
    version: int


class AttemptKey(NamedTuple):
    """The identity of an attempt; it fences every write of a worker to a job."""

    job_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that the caller owns until its lease ends; `attempt` fences its writes."""

    id: str
    tenant_id: str
    bulk_id: str | None
    attempt: int
    version: int
    lane: Lane
    spec: JobSpec
    interpreted: bool = True
    """Whether the spec holds all conditions; False for a description that has not been interpreted yet."""
    shares: bool = False
    """Whether its tenant lets equal requests share a result."""

    @property
    def key(self) -> AttemptKey:
        """The key of the attempt."""
        return AttemptKey(self.id, self.attempt)

    @property
    def change(self) -> Change:
        """The state change of the claim."""
        return Change(self.id, self.tenant_id, self.bulk_id, self.spec.model, JobState.RUNNING, self.version)


@dataclass(frozen=True, slots=True)
class NewImage:
    """A picture whose bytes are already stored."""

    sha256: str
    media_type: str
    width: int
    height: int
    size_bytes: int
    seed: int
    receipt: Mapping[str, Any]
    alt_text: str | None = None
    deduplication_key: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """The result of an attempt: images and a sentence that presents them, or an error."""

    job_id: str
    attempt: int
    images: Sequence[NewImage] = ()
    error: LimnerError | None = None
    presentation: str | None = None

    @property
    def key(self) -> AttemptKey:
        """The key of its attempt."""
        return AttemptKey(self.job_id, self.attempt)


class Released(NamedTuple):
    """A job to publish. `at` is its release time, by the database's clock."""

    id: str
    lane: Lane
    at: float


@dataclass(frozen=True, slots=True)
class Submission:
    """The result of `submit`. Publish `released` after the commit; the dispatcher releases the others."""

    changes: list[Change]
    released: list[Released]


_CHANGED: Final = (
    Job.id,
    Job.tenant_id,
    Job.bulk_id,
    Job.model,
    Job.priority,
    Job.state,
    Job.version,
    Job.attempt,
    Job.error_code,
)


def lock(session: Session, ids: Select[str]) -> list[str]:
    """Lock the jobs of this query that no other transaction has locked, and return their ids.

    Every sweep selects its rows this way: a row that a frozen process holds does not block the others, and since a
    sweep never waits for a job, it takes part in no deadlock.
    """
    return list(session.scalars(ids.with_for_update(skip_locked=True, of=Job)))


def transition(
    session: Session,
    which: ColumnElement[bool],
    values: Mapping[Any, Any],
    kind: str,
    detail: Mapping[str, Any] | None = None,
) -> list[Change]:
    """Update the jobs that meet a condition, and record an event for each."""
    statement = (
        update(Job)
        .where(which)
        .values({"version": Job.version + 1, **values})
        .returning(*_CHANGED, (Job.finished_at - Job.created_at).label("seconds"))
    )
    rows = session.execute(statement, execution_options=NO_SYNC).all()
    count_transition(session, kind, rows, detail)
    record(session, kind, [(row.id, row.attempt, dict(detail or {})) for row in rows])
    changes = [Change(row.id, row.tenant_id, row.bulk_id, row.model, JobState(row.state), row.version) for row in rows]
    _count_ends(session, changes)
    return changes


def _count_ends(session: Session, changes: Sequence[Change]) -> None:
    """Update the bulks' counts, after the jobs and in a fixed order, so that no two transactions wait for each other.

    For the same reason a transaction that ends jobs of several bulks must end all of them in one `transition`.
    """
    ends = Counter((change.bulk_id, change.state) for change in changes if change.bulk_id and change.state.terminal)
    for (bulk_id, state), count in sorted(ends.items()):
        column = getattr(Bulk, state.value)
        statement = update(Bulk).where(Bulk.id == bulk_id).values({column: column + count})
        session.execute(statement, execution_options=NO_SYNC)


def record(session: Session, kind: str, jobs: Sequence[tuple[str, int, dict[str, Any]]]) -> None:
    """Record one event for each (job, attempt, detail)."""
    if jobs:
        rows = [{"job_id": job_id, "attempt": attempt, "kind": kind, "detail": more} for job_id, attempt, more in jobs]
        session.execute(insert_many(Event).values(created_at=now()), rows)


def error_values(error: LimnerError) -> dict[str, Any]:
    """The column values that say why a job failed."""
    return {"error_code": error.code, "error_message": error.message, "error_retryable": error.retryable}
