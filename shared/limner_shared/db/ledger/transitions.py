"""The writes of every state change: locks, the update with its event, and the counts of bulks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Insert, Select, Text, Update, bindparam, select, update
from sqlalchemy.orm import Session

from limner_shared.db.engine import now
from limner_shared.db.ledger.counting import count_transition
from limner_shared.db.ledger.types import Change, EventKind
from limner_shared.db.many_rows import NO_SYNC, among_those, insert_from, update_many
from limner_shared.db.table_base import Json
from limner_shared.db.tables import Bulk, Event, Job
from limner_shared.db.webhooks.outbox import NewEvent, emit
from limner_shared.domain.bulks import BulkState
from limner_shared.domain.jobs import JobState
from limner_shared.domain.webhooks import EventType
from limner_shared.errors import LimnerError, NotFound

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


def lock_job(session: Session, tenant_id: str, job_id: str) -> Job:
    """Lock a tenant's job and return it. Raises NotFound."""
    mine = select(Job).where(Job.id == job_id, Job.tenant_id == tenant_id)
    row = session.scalar(mine.with_for_update().execution_options(populate_existing=True))
    if row is None:
        raise NotFound(f"There is no job {job_id}.")
    return row


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
    kind: EventKind,
    detail: Mapping[str, Any] | None = None,
) -> list[Change]:
    """Update the jobs that meet a condition, and record an event of this kind, with `detail`, for each."""
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


def increase_version(session: Session, row: Job) -> Change:
    """Increase the version of a locked job whose view has changed, but not its state."""
    higher = update(Job).where(Job.id == row.id).values(version=Job.version + 1).returning(Job.version)
    version = session.scalar(higher, execution_options=NO_SYNC) or row.version
    return Change(row.id, row.tenant_id, row.bulk_id, row.model, JobState(row.state), version)


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


def record(session: Session, kind: EventKind, job_ids: Sequence[str], detail: Mapping[str, Any]) -> None:
    """Record one event for each of these jobs, at its current attempt."""
    if job_ids:
        session.execute(_record_statement(), {"jobs": list(job_ids), "what": kind.value, "more": dict(detail)})


@cache
def _record_statement() -> Insert:
    of_each = select(Job.id, Job.attempt, bindparam("what", type_=Text()), bindparam("more", type_=Json), now())
    columns = ("job_id", "attempt", "kind", "detail", "created_at")
    return insert_from(Event).from_select(columns, of_each.where(among_those(Job.id, "jobs")))


def error_values(error: LimnerError) -> dict[str, Any]:
    """The column values that say why a job failed."""
    return {"error_code": error.code, "error_message": error.message, "error_retryable": error.retryable}
