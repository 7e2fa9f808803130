"""The ledger's inputs and results, and the two writes of every state change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Insert, Select, Text, Update, bindparam, select, update
from sqlalchemy.orm import Session

from limner_shared.db.engine import now
from limner_shared.db.ledger.counting import count_transition
from limner_shared.db.many_rows import NO_SYNC, among_those, insert_from, update_many
from limner_shared.db.table_base import Json
from limner_shared.db.tables import Bulk, Event, Job
from limner_shared.db.webhooks.outbox import NewEvent, emit
from limner_shared.domain.bulks import BulkState
from limner_shared.domain.embeddings import Embedding
from limner_shared.domain.ids import new_id
from limner_shared.domain.jobs import JobSpec, JobState, Lane, Priority
from limner_shared.domain.safety import NO_POLICY, TenantPolicy
from limner_shared.domain.unique import Unique
from limner_shared.domain.webhooks import EventType
from limner_shared.errors import LimnerError


@dataclass(frozen=True, slots=True)
class UniqueHold:
    """A unique key, and the id of the new job that is to hold it."""

    unique: Unique
    job_id: str = field(default_factory=lambda: new_id("job"))


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to queue. A `small` one may pass the others while its tenant has no active jobs."""

    spec: JobSpec
    cost: int
    priority: Priority
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    bulk_line: int | None = None
    expires_in: float | None = None
    small: bool = False
    retry_of: str | None = None
    not_before: float | None = None
    """The time before which it must not start, in seconds since 1970; a past one has no effect."""
    max_retries: int = 0
    webhook: Mapping[str, Any] | None = None
    """A `webhooks.Webhook` as JSON."""
    unique: UniqueHold | None = None
    traceparent: str | None = None
    """The span under which it is traced."""


@dataclass(frozen=True, slots=True)
class Change:
    """A job whose state has changed: what the hints announce to pollers and streams after the commit."""

    id: str
    tenant_id: str
    bulk_id: str | None
    model: str
    state: JobState
    version: int
    notifies: bool = False
    """Whether webhook deliveries were written with it, which the dispatcher should send at once."""
    deleted: bool = False
    """Whether the job was deleted; then it was in this state before."""


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
    notifies: bool = False
    interpreted: bool = True
    """Whether the spec holds all conditions; False for a description that has not been interpreted yet."""
    shares: bool = False
    """Whether its tenant lets equal requests share a result."""
    tenant: TenantPolicy = NO_POLICY
    """What its tenant has of its own."""
    traceparent: str | None = None
    """The span under which it is traced."""

    @property
    def key(self) -> AttemptKey:
        """The key of the attempt."""
        return AttemptKey(self.id, self.attempt)

    @property
    def change(self) -> Change:
        """The state change of the claim."""
        return Change(
            self.id, self.tenant_id, self.bulk_id, self.spec.model, JobState.RUNNING, self.version, self.notifies
        )


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
    embedding: Embedding | None = None
    """By which it is compared with others; None if its model has no encoder."""


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
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """The result of `submit`. Publish `released` after the commit; the dispatcher releases the others.

    `existing` is the job that holds the unique key of the one that was to be submitted; then nothing was.
    """

    changes: list[Change]
    released: list[Released]
    existing: str | None = None
    rows: Sequence[Mapping[str, Any]] = ()
    """The columns of the jobs, for `as_stored`."""
    ahead: int | None = None
    """How many jobs are ahead of the released ones."""

    @property
    def job_id(self) -> str:
        """The id of a single job, or of the one that exists in its place."""
        return self.existing or self.changes[0].id


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
    Job.webhook,
    Job.traceparent,
)


def lock(session: Session, ids: Select[str]) -> list[str]:
    """Lock the jobs of this query that no other transaction has locked, and return their ids.

    Every sweep selects its rows this way: a row that a frozen process holds does not block the others, and since a
    sweep never waits for a job, it takes part in no deadlock.
    """
    return list(session.scalars(ids.with_for_update(skip_locked=True, of=Job)))


def lock_bulks(session: Session, bulk_ids: Iterable[str | None]) -> None:
    """Lock the bulks of locked jobs, in the order of `transition`: for a transaction that ends them in steps."""
    ids = sorted({bulk_id for bulk_id in bulk_ids if bulk_id is not None})
    if ids:
        bulks = select(Bulk.id).where(Bulk.id.in_(ids)).order_by(Bulk.id)
        session.execute(bulks.with_for_update(key_share=True))


def transition(
    session: Session,
    which: ColumnElement[bool],
    values: Mapping[Any, Any],
    kind: str,
    detail: Mapping[str, Any] | None = None,
) -> list[Change]:
    """Update the jobs that meet a condition, and record an event for each."""
    statement = (
        update_many(Job)
        .where(which)
        .values({"version": Job.version + 1, **values})
        .returning(*_CHANGED, (Job.finished_at - Job.created_at).label("seconds"))
    )
    rows = session.execute(statement).all()
    count_transition(session, kind, rows, detail)
    record(session, kind, [row.id for row in rows], detail or {})
    ended = [row for row in rows if JobState(row.state).terminal]
    events = [NewEvent(row.tenant_id, EventType(f"job.{row.state}"), row.id, row.webhook) for row in ended]
    notifies = emit(session, events + _count_ends(session, ended))
    return [
        Change(row.id, row.tenant_id, row.bulk_id, row.model, JobState(row.state), row.version, notifies)
        for row in rows
    ]


def _count_ends(session: Session, ended: Iterable[Any]) -> list[NewEvent]:
    """Update the bulks' counts, after the jobs and in a fixed order, so that no two transactions wait for each other.
    Returns the events of bulks whose last job has ended.

    For the same reason a transaction that ends jobs of several bulks must end all of them in one `transition`, or lock
    the jobs and then their bulks before (`lock_bulks`).
    """
    completed: list[NewEvent] = []
    ends = Counter((row.bulk_id, JobState(row.state)) for row in ended if row.bulk_id)
    for (bulk_id, state), count in sorted(ends.items()):
        column = getattr(Bulk, state.value)
        statement = update(Bulk).where(Bulk.id == bulk_id).values({column: column + count})
        completed += bulk_completed(session, statement)
    return completed


def bulk_completed(session: Session, statement: Update) -> list[NewEvent]:
    """Execute an update of a bulk; returns the event of its completion if all its jobs have ended after it.

    The row is locked by the update, so of several transactions only the last one completes the bulk. A bulk that is
    loading is not complete, and one that was canceled has an event of its own.
    """
    ended = Bulk.succeeded + Bulk.failed + Bulk.canceled
    done = Bulk.state.in_((BulkState.OPEN, BulkState.PAUSED)) & (ended >= Bulk.total)
    returned = statement.returning(Bulk.id, Bulk.tenant_id, Bulk.webhook, done.label("done"))
    rows = session.execute(returned, execution_options=NO_SYNC)
    return [NewEvent(row.tenant_id, EventType.BULK_COMPLETED, row.id, row.webhook) for row in rows if row.done]


def record(session: Session, kind: str, job_ids: Sequence[str], detail: Mapping[str, Any]) -> None:
    """Record one event for each of these jobs, at its current attempt."""
    if job_ids:
        session.execute(_record_statement(), {"jobs": list(job_ids), "what": kind, "more": dict(detail)})


@cache
def _record_statement() -> Insert:
    of_each = select(Job.id, Job.attempt, bindparam("what", type_=Text()), bindparam("more", type_=Json), now())
    columns = ("job_id", "attempt", "kind", "detail", "created_at")
    return insert_from(Event).from_select(columns, of_each.where(among_those(Job.id, "jobs")))


def error_values(error: LimnerError) -> dict[str, Any]:
    """The column values that say why a job failed."""
    return {"error_code": error.code, "error_message": error.message, "error_retryable": error.retryable}
