"""What goes into the ledger and comes out of it, and the two writes that every change of state is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Select, update
from sqlalchemy.orm import Session

from limner_shared.db.engine import insert_many, now
from limner_shared.db.tables import Bulk, Event, Job
from limner_shared.domain.jobs import JobSpec, JobState, Lane, Priority
from limner_shared.errors import LimnerError

NO_SYNC: Final = {"synchronize_session": False}
"""Execution options of a statement after which nothing loaded before is looked at again."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be queued. A `small` one may pass the others while its tenant has nothing in hand."""

    spec: JobSpec
    cost: int
    priority: Priority
    metadata: Mapping[str, Any] = field(default_factory=dict)
    bulk_line: int | None = None
    expires_in: float | None = None
    small: bool = False
    retry_of: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A job whose state has just changed: what the hints tell pollers and streams after the commit."""

    id: str
    tenant_id: str
    bulk_id: str | None
    model: str
    state: JobState
    version: int


class AttemptKey(NamedTuple):
    """What identifies one attempt; a worker's every write to a job is fenced by it."""

    job_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that the caller now owns, until its lease ends; `attempt` fences whatever it writes."""

    id: str
    tenant_id: str
    bulk_id: str | None
    attempt: int
    version: int
    lane: Lane
    spec: JobSpec
    interpreted: bool = True
    """Whether the spec holds all conditions; False for a description that nobody has interpreted yet."""
    shares: bool = False
    """Whether its tenant lets equal requests share a result."""

    @property
    def key(self) -> AttemptKey:
        """Which attempt it is."""
        return AttemptKey(self.id, self.attempt)

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
    alt_text: str | None = None
    deduplication_key: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """How an attempt ended: with images and a sentence that presents them, or with an error."""

    job_id: str
    attempt: int
    images: Sequence[NewImage] = ()
    error: LimnerError | None = None
    presentation: str | None = None

    @property
    def key(self) -> AttemptKey:
        """Which attempt it is of."""
        return AttemptKey(self.job_id, self.attempt)


class Released(NamedTuple):
    """A job that may be published now. `at` is when, by the database's clock."""

    id: str
    lane: Lane
    at: float


@dataclass(frozen=True, slots=True)
class Submission:
    """What `submit` queued; `released` must be published after the commit, the rest is the dispatcher's."""

    changes: list[Change]
    released: list[Released]


def lock(session: Session, ids: Select[str]) -> list[str]:
    """The jobs of this query that no other transaction has locked, locked for this one.

    Every sweep chooses its rows so: one that a frozen process holds stops none of the others, and since a sweep waits
    for no job, no two transactions wait for each other.
    """
    return list(session.scalars(ids.with_for_update(skip_locked=True, of=Job)))


def transition(
    session: Session,
    which: ColumnElement[bool],
    values: Mapping[Any, Any],
    kind: str,
    detail: Mapping[str, Any] | None = None,
) -> list[Change]:
    """Change the jobs that meet a condition, and record an event of each."""
    statement = (
        update(Job)
        .where(which)
        .values({"version": Job.version + 1, **values})
        .returning(Job.id, Job.tenant_id, Job.bulk_id, Job.model, Job.state, Job.version, Job.attempt)
    )
    rows = session.execute(statement, execution_options=NO_SYNC).all()
    record(session, kind, [(row.id, row.attempt, dict(detail or {})) for row in rows])
    changes = [Change(row.id, row.tenant_id, row.bulk_id, row.model, JobState(row.state), row.version) for row in rows]
    _count_ends(session, changes)
    return changes


def _count_ends(session: Session, changes: Sequence[Change]) -> None:
    """Keep the bulks' counts. After the jobs and in one order, so that no two transactions wait for each other.

    So a transaction that ends jobs of several bulks makes all of them one `transition`.
    """
    ends = Counter((change.bulk_id, change.state) for change in changes if change.bulk_id and change.state.terminal)
    for (bulk_id, state), count in sorted(ends.items()):
        column = getattr(Bulk, state.value)
        statement = update(Bulk).where(Bulk.id == bulk_id).values({column: column + count})
        session.execute(statement, execution_options=NO_SYNC)


def record(session: Session, kind: str, jobs: Sequence[tuple[str, int, dict[str, Any]]]) -> None:
    """Write one event of each (job, attempt, detail)."""
    if jobs:
        rows = [{"job_id": job_id, "attempt": attempt, "kind": kind, "detail": more} for job_id, attempt, more in jobs]
        session.execute(insert_many(Event).values(created_at=now()), rows)


def error_values(error: LimnerError) -> dict[str, Any]:
    """The columns of a job that say why it failed."""
    return {"error_code": error.code, "error_message": error.message, "error_retryable": error.retryable}
