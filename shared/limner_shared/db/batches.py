"""The rows of OpenAI's batches. Each change is a conditional update in the caller's transaction: one that comes late or
twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, func, insert, or_, select, text, update
from sqlalchemy.orm import Session

from limner_shared.db import ledger, queries
from limner_shared.db.batch_tables import ENDED, OPEN, Batch, BatchLine
from limner_shared.db.engine import now
from limner_shared.db.files import NewFile, add_file, delete_file, lives
from limner_shared.db.many_rows import NO_SYNC, insert_many
from limner_shared.db.queries import Shown
from limner_shared.db.response_inputs import Items, add_inputs_of_lines
from limner_shared.db.tables import Bulk, Job
from limner_shared.db.webhooks.outbox import NewEvent, emit
from limner_shared.domain.batches import OUTPUT_PURPOSE, BatchState
from limner_shared.domain.bulks import BulkState
from limner_shared.domain.ids import new_id
from limner_shared.domain.webhooks import EventType
from limner_shared.errors import InvalidState, LeaseLost, NotFound


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A batch to create."""

    endpoint: str
    input_file_id: str
    window: str
    """As the client wrote it."""
    seconds: float
    """The length of the window."""
    output_seconds: float
    origin: str
    metadata: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class NewLine:
    """What a line says beside its job."""

    line: int
    custom_id: str
    output: Mapping[str, Any]
    items: Items | None = None
    """The input items of a response that is stored."""


@dataclass(frozen=True, slots=True)
class Output:
    """The output and the errors of a batch, in bytes; 0 if there are none."""

    results: int
    errors: int


# --- the client's view -----------------------------------------------------------------------------------------------


def add_batch(session: Session, tenant_id: str, new: NewBatch) -> str:
    """Create a batch, whose file is read soon, and return its id."""
    batch_id = new_id("batch")
    values = {"id": batch_id, "tenant_id": tenant_id, "state": BatchState.VALIDATING, "endpoint": new.endpoint}
    values |= {"input_file_id": new.input_file_id, "window": new.window, "output_seconds": new.output_seconds}
    values |= {"origin": new.origin, "extra": None if new.metadata is None else dict(new.metadata)}
    session.execute(insert(Batch).values(created_at=now(), expires_at=now() + new.seconds, **values))
    return batch_id


def batch(session: Session, tenant_id: str, batch_id: str) -> Batch:
    """A tenant's batch. Raises NotFound."""
    found = session.scalar(select(Batch).where(Batch.id == batch_id, Batch.tenant_id == tenant_id))
    if found is None:
        raise NotFound(f"There is no batch {batch_id[:60]}.")
    return found


def batches(session: Session, tenant_id: str, limit: int, after: str | None) -> list[Batch]:
    """A page of a tenant's batches, newest first, older than the batch `after`."""
    mine = select(Batch).where(Batch.tenant_id == tenant_id)
    if after is not None:
        mine = mine.where(Batch.id < after)
    return list(session.scalars(mine.order_by(Batch.id.desc()).limit(limit)))


def bulks_of(session: Session, rows: Sequence[Batch]) -> dict[str, Bulk]:
    """The bulks of the unfinished batches among these, by the bulks' ids."""
    ids = [row.bulk_id for row in rows if row.bulk_id is not None and not BatchState(row.state).ended]
    return {bulk.id: bulk for bulk in session.scalars(select(Bulk).where(Bulk.id.in_(ids)))} if ids else {}


def cancel(session: Session, tenant_id: str, batch_id: str) -> Batch:
    """Cancel a batch; returns it. A batch that is being cancelled, or was, does not change.

    Raises NotFound, or InvalidState for one that has ended otherwise or whose time is over.
    """
    mine = select(Batch).where(Batch.id == batch_id, Batch.tenant_id == tenant_id)
    row = session.scalar(mine.with_for_update().execution_options(populate_existing=True))
    if row is None:
        raise NotFound(f"There is no batch {batch_id[:60]}.")
    state = BatchState(row.state)
    if BatchState.CANCELLED not in (state, row.outcome) and not close(session, row, BatchState.CANCELLED):
        raise InvalidState(f"The batch is {state}, so it cannot be cancelled.", state=state)
    session.refresh(row)
    return row


# --- from one state to the next --------------------------------------------------------------------------------------


def has_work(session: Session) -> bool:
    """Whether a batch has not ended."""
    return session.scalar(select(Batch.id).where(text(OPEN)).limit(1)) is not None


def closing(session: Session) -> list[tuple[Batch, BatchState]]:
    """The batches whose jobs have all ended, or whose time is over, each with its outcome."""
    late = Batch.expires_at <= now()
    going = (Batch.state == BatchState.IN_PROGRESS) & or_(late, _canceled(), _jobs_ended())
    unread = (Batch.state == BatchState.VALIDATING) & late
    query = select(Batch, Bulk.state, _jobs_ended()).outerjoin(Bulk, Bulk.id == Batch.bulk_id)
    found = session.execute(query.where(text(f"batches.{OPEN}"), or_(going, unread)))
    return [(row, _outcome(bulk, done=bool(done) and row.bulk_id is not None)) for row, bulk, done in found]


def close(session: Session, row: Batch, outcome: BatchState) -> bool:
    """validating → the outcome, or in_progress → finalizing, where no more jobs start. False if it has moved on."""
    ended = {"state": outcome, "ended_at": now(), "lease_until": None}
    if _move(session, row.id, BatchState.VALIDATING, ended):
        _tell(session, row, outcome)
        return True
    finalizing = {"state": BatchState.FINALIZING, "outcome": outcome, "finalizing_at": now(), "lease_until": None}
    closed = _move(session, row.id, BatchState.IN_PROGRESS, finalizing)
    if closed and outcome is not BatchState.COMPLETED and row.bulk_id is not None:
        ledger.cancel_bulk(session, row.bulk_id)
    return closed


def claim(session: Session, state: BatchState, seconds: float) -> Batch | None:
    """Take a batch that is validating, or that is finalizing and whose jobs have ended, for `seconds`: the oldest of a
    random tenant, so that one with many does not hold up the others. None if there is none, or another process took it.
    """
    free = or_(Batch.lease_until.is_(None), Batch.lease_until <= now())
    is_due = (text(f"batches.{OPEN}"), Batch.state == state, free)
    oldest = select(func.min(Batch.id)).where(*is_due).group_by(Batch.tenant_id).order_by(func.random()).limit(1)
    if state is BatchState.FINALIZING:
        oldest = oldest.outerjoin(Bulk, Bulk.id == Batch.bulk_id).where(_jobs_ended())
    taking = select(Batch.id).where(Batch.id == session.scalar(oldest), *is_due)
    batch_id = session.scalar(taking.with_for_update(skip_locked=True))
    if batch_id is None:
        return None
    values = {"attempt": Batch.attempt + 1, "lease_until": now() + seconds}
    taken = update(Batch).where(Batch.id == batch_id).values(values).returning(Batch)
    return session.scalar(taken, execution_options=NO_SYNC)


def renew(session: Session, claimed: Batch, seconds: float) -> None:
    """Keep a batch for `seconds` more. Raises LeaseLost if it was taken over, cancelled or has expired."""
    later = {"lease_until": now() + seconds}
    if not _move(session, claimed.id, BatchState(claimed.state), later, claimed.attempt):
        raise LeaseLost(f"The batch {claimed.id} was taken over or has ended.")


def add_lines(session: Session, bulk_id: str, lines: Sequence[NewLine]) -> None:
    """Store what these lines say beside their jobs, which are stored in the same transaction."""
    rows = [
        {"bulk_id": bulk_id, "line": line.line, "custom_id": line.custom_id, "output": dict(line.output)}
        for line in lines
    ]
    insert_many(session, BatchLine, rows)
    add_inputs_of_lines(session, bulk_id, {line.line: line.items for line in lines if line.items is not None})


def known_custom_ids(session: Session, bulk_id: str, custom_ids: Sequence[str]) -> dict[str, int]:
    """Those of these ids that earlier lines have, with their lines."""
    same = (BatchLine.bulk_id == bulk_id) & BatchLine.custom_id.in_(custom_ids)
    return {row.custom_id: row.line for row in session.execute(select(BatchLine.custom_id, BatchLine.line).where(same))}


def begin(session: Session, claimed: Batch, bulk_id: str) -> None:
    """validating → in_progress, in the transaction that seals the bulk. Raises LeaseLost."""
    total = select(Bulk.total).where(Bulk.id == bulk_id).scalar_subquery()
    values = {"state": BatchState.IN_PROGRESS, "bulk_id": bulk_id, "in_progress_at": now(), "lease_until": None}
    values |= {"total": total}
    if not _move(session, claimed.id, BatchState.VALIDATING, values, claimed.attempt):
        raise LeaseLost(f"The batch {claimed.id} was taken over or has ended.")


def fail(session: Session, claimed: Batch, total: int, errors: Sequence[Mapping[str, Any]]) -> bool:
    """validating → failed: nothing was queued; or finalizing → failed: its output cannot be made.

    False if the batch was taken over or has ended.
    """
    values = {"total": total, "errors": {"data": [dict(each) for each in errors]}, "ended_at": now()}
    values |= {"state": BatchState.FAILED, "lease_until": None} | _counts(session, claimed)
    failed = _move(session, claimed.id, BatchState(claimed.state), values, claimed.attempt)
    if failed:
        _tell(session, claimed, BatchState.FAILED)
    return failed


def finish(session: Session, claimed: Batch, output: Output) -> bool:
    """finalizing → the outcome, with the files of its output. False if the batch was taken over."""
    outcome = BatchState(claimed.outcome or BatchState.COMPLETED)
    files = {"output": output.results, "error": output.errors}
    ids = {f"{kind}_file_id": new_id("file") for kind, size in files.items() if size}
    values = {"state": outcome, "ended_at": now(), "lease_until": None} | ids | _counts(session, claimed)
    finished = _move(session, claimed.id, BatchState.FINALIZING, values, claimed.attempt)
    if finished:
        for kind, size in files.items():
            if size:
                name, seconds = f"{claimed.id}_{kind}.jsonl", claimed.output_seconds
                new = NewFile(ids[f"{kind}_file_id"], name, OUTPUT_PURPOSE, size, 0, seconds, claimed.id)
                add_file(session, claimed.tenant_id, new)
        _tell(session, claimed, outcome)
    return finished


def _counts(session: Session, claimed: Batch) -> dict[str, int]:
    """The last counts of a batch's bulk, which may be deleted before it; none of a batch without one."""
    bulk = None if claimed.bulk_id is None else session.get(Bulk, claimed.bulk_id)
    return {} if bulk is None else counts_of(bulk)


def counts_of(bulk: Bulk) -> dict[str, int]:
    """A bulk's counts as its batch has them: a job that was cancelled has failed."""
    return {"total": bulk.total, "completed": bulk.succeeded, "failed": bulk.failed + bulk.canceled}


def line_page(session: Session, bulk_id: str, after: int, limit: int) -> list[tuple[BatchLine, Shown | None]]:
    """The next lines of a batch, each with its job; None if that was deleted."""
    mine = (BatchLine.bulk_id == bulk_id) & (BatchLine.line > after)
    lines = session.scalars(select(BatchLine).where(mine).order_by(BatchLine.line).limit(limit)).all()
    numbers = [line.line for line in lines]
    mine_too = select(Job).where(Job.bulk_id == bulk_id, Job.bulk_line.in_(numbers))
    jobs: Sequence[Job] = session.scalars(mine_too).all() if lines else ()
    shown = {each.job.bulk_line: each for each in queries.shown(session, jobs)} if jobs else {}
    return [(line, shown.get(line.line)) for line in lines]


def forget_batches(session: Session, limit: int, seconds: float) -> int:
    """Delete batches older than `seconds` or than what their tenant keeps of files; returns the number of rows."""
    ended = select(Batch).where(text(f"batches.{ENDED}")).order_by(Batch.ended_at).limit(limit)
    due = [Batch.ended_at < now() - seconds]
    due += [(Batch.tenant_id == tenant) & (Batch.ended_at < now() - life) for tenant, life in lives(session)]
    rows = [row for which in due for row in session.scalars(ended.where(which))]
    done = 0
    for row in dict.fromkeys(rows):
        done += forget_lines(session, row.bulk_id, limit - done) if row.bulk_id is not None else 0
        if done >= limit:  # the next call goes on here
            break
        for file_id in filter(None, (row.output_file_id, row.error_file_id)):
            delete_file(session, row.tenant_id, file_id)
        session.execute(delete(Batch).where(Batch.id == row.id), execution_options=NO_SYNC)
        done += 1
    return done


def forget_lines(session: Session, bulk_id: str, limit: int) -> int:
    """Delete at most `limit` lines of a batch; returns their number."""
    some = select(BatchLine.line).where(BatchLine.bulk_id == bulk_id).order_by(BatchLine.line).limit(limit)
    gone = delete(BatchLine).where(BatchLine.bulk_id == bulk_id, BatchLine.line.in_(some)).returning(BatchLine.line)
    return len(session.execute(gone, execution_options=NO_SYNC).all())


def _canceled() -> ColumnElement[bool]:
    return Bulk.state.in_((BulkState.CANCELING, BulkState.CANCELED))


def _jobs_ended() -> ColumnElement[bool]:
    """Whether all jobs of the joined bulk have ended; retention may have deleted it since."""
    return or_(Bulk.id.is_(None), Bulk.succeeded + Bulk.failed + Bulk.canceled >= Bulk.total)


def _outcome(bulk_state: str | None, *, done: bool) -> BatchState:
    if bulk_state in (BulkState.CANCELING, BulkState.CANCELED):
        return BatchState.CANCELLED
    return BatchState.COMPLETED if done else BatchState.EXPIRED


def _move(
    session: Session, batch_id: str, state: BatchState, values: Mapping[str, Any], attempt: int | None = None
) -> bool:
    """Update a batch that is in this state and, if given, attempt; False otherwise."""
    same = (Batch.id == batch_id) & (Batch.state == state)
    if attempt is not None:
        same &= Batch.attempt == attempt
    moved = update(Batch).where(same).values(dict(values)).returning(Batch.id)
    return session.scalar(moved, execution_options=NO_SYNC) is not None


def _tell(session: Session, row: Batch, outcome: BatchState) -> None:
    emit(session, [NewEvent(row.tenant_id, EventType(f"batch.{outcome}"), row.id, data={"id": row.id})])
