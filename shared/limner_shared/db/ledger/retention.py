"""Retention: each tenant sets for how many days images, prompts and whole jobs are kept.

Each function handles at most `limit` rows and returns how many it handled. A job's `forgotten` records what is done, so
that it is not read again. `blob_deletion` handles the blobs that rows no longer refer to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import IntFlag
from typing import Any, Final

from sqlalchemy import ColumnElement, bindparam, delete, null, or_, select, text, union_all, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from limner_shared.db.engine import now
from limner_shared.db.ledger.blob_deletion import give_up_inputs, schedule_blob_deletion
from limner_shared.db.ledger.conversations import drop_conversation
from limner_shared.db.ledger.types import NO_SYNC
from limner_shared.db.tables import (
    FINISHED,
    Bulk,
    Conversation,
    ConversationTurn,
    Event,
    IdempotencyKey,
    Image,
    Job,
    Tenant,
    Usage,
)
from limner_shared.db.webhooks.log import blank_subjects, forget_subjects
from limner_shared.domain.bulks import BulkState
from limner_shared.domain.replay import DRAWN_AS

DAY: Final = 86400.0
WITHOUT_PROMPT: Final = ""
USAGE_DAYS: Final = 92
"""Days for which usage counts are kept: a quarter of a year."""


class Forgotten(IntFlag):
    """The retention steps done to a job, stored in `jobs.forgotten`."""

    IMAGES = 1
    PROMPT = 2
    HISTORY_DUE = 4
    """The earlier messages in its spec must be deleted as soon as it has ended."""


def forget_images(session: Session, limit: int) -> int:
    """Delete the images and inputs of jobs that ended before their tenant's image retention period."""
    done = 0
    for tenant, old in _tenants(session, Tenant.keep_images_days):
        ids = _due(session, tenant, _without(Forgotten.IMAGES), Job.finished_at < old, limit - done)
        _delete_images(session, ids)
        give_up_inputs(session, ids)
        _mark(session, ids, Forgotten.IMAGES)
        done += len(ids)
    return done


def forget_prompts(session: Session, limit: int) -> int:
    """Blank the texts and the metadata of jobs that ended before their tenant's prompt retention period."""
    done = 0
    for tenant, old in _tenants(session, Tenant.keep_prompts_days):
        ids = _due(session, tenant, _without(Forgotten.PROMPT), Job.finished_at < old, limit - done)
        _blank(session, ids)
        _mark(session, ids, Forgotten.PROMPT)
        done += len(ids)
    return done + _forget_histories(session, limit - done)


def forget_jobs(session: Session, limit: int) -> int:
    """Delete jobs that ended before their tenant's job retention period, with everything derived from them: images,
    events, idempotency keys, texts in conversations; and bulks and conversations without jobs.
    """
    done = 0
    for tenant, old in _tenants(session, Tenant.keep_jobs_days):
        ids = _due(session, tenant, range(2 * Forgotten.HISTORY_DUE), Job.finished_at < old, limit - done)
        if ids:
            _delete_jobs(session, ids)
        done += len(ids)
    return done


def forget_usage(session: Session) -> None:
    """Delete the usage counts of days that are older than USAGE_DAYS."""
    moment: float = session.scalar(select(now())) or 0.0
    old = datetime.fromtimestamp(moment - USAGE_DAYS * DAY, UTC).date().isoformat()
    session.execute(delete(Usage).where(Usage.day < old), execution_options=NO_SYNC)


# --- due jobs --------------------------------------------------------------------------------------------------------


def _tenants(session: Session, days: InstrumentedAttribute[float | None]) -> Iterator[tuple[str, ColumnElement[float]]]:
    """Each tenant with a retention period, and the time before which a job must have ended to be due."""
    for tenant, kept in session.execute(select(Tenant.id, days).where(days.is_not(None))).all():
        yield tenant, now() - (kept or 0.0) * DAY


def _without(flag: Forgotten) -> list[int]:
    return [value for value in range(2 * Forgotten.HISTORY_DUE) if not value & flag]


def _due(session: Session, tenant: str, marks: Sequence[int], old: ColumnElement[bool], limit: int) -> Sequence[str]:
    """A tenant's jobs that are due and have one of these marks, the oldest first: one index range for each mark."""
    if limit <= 0:
        return []
    ended = select(Job.id).where(Job.tenant_id == tenant, text(f"jobs.{FINISHED}"), old)
    each = [
        select(ended.where(Job.forgotten == mark).order_by(Job.finished_at).limit(limit).subquery().c.id)
        for mark in marks
    ]
    return session.scalars(union_all(*each).limit(limit)).all()


def _mark(session: Session, ids: Sequence[str], flag: Forgotten) -> None:
    """Set a mark and increase the version, since the job looks different from now on."""
    if ids:
        values = {"forgotten": Job.forgotten.op("|")(int(flag)), "version": Job.version + 1}
        session.execute(update(Job).where(Job.id.in_(ids)).values(values), execution_options=NO_SYNC)


# --- texts -----------------------------------------------------------------------------------------------------------


def _blank(session: Session, ids: Sequence[str]) -> None:
    """Blank everything that the client or the model wrote, in all places."""
    words = dict.fromkeys(("prompt", "negative_prompt", "dropped_negative"), WITHOUT_PROMPT)
    _write_specs(session, _specs(session, ids), words | {"description": None, "history": []})
    values = {"extra": {}, "interpretation": null(), "presentation": None}
    session.execute(update(Job).where(Job.id.in_(ids)).values(values), execution_options=NO_SYNC)
    # A deduplication key is a hash over the prompt, so a guess could be tested against it.
    said = {Image.alt_text: None, Image.deduplication_key: None}
    session.execute(update(Image).where(Image.job_id.in_(ids)).values(said), execution_options=NO_SYNC)
    _blank_receipts(session, ids)
    blank_subjects(session, ids)
    _blank_turns(session, ids)


def _blank_receipts(session: Session, ids: Sequence[str]) -> None:
    """What was drawn instead of a prompt tells of the prompt; the receipt is complete without it."""
    found = session.execute(select(Image.id, Image.receipt).where(Image.job_id.in_(ids)))
    rows = [
        {"image": row.id, "new_receipt": {key: value for key, value in row.receipt.items() if key != DRAWN_AS}}
        for row in found
        if DRAWN_AS in row.receipt
    ]
    if rows:
        statement = update(Image).where(Image.id == bindparam("image")).values(receipt=bindparam("new_receipt"))
        session.connection().execute(statement, rows)


def _blank_turns(session: Session, ids: Sequence[str]) -> None:
    """Blank these jobs' turns, and the copies of them in the specs of later turns' jobs."""
    turns = session.execute(
        select(ConversationTurn.conversation_id, ConversationTurn.parent_id).where(ConversationTurn.job_id.in_(ids))
    ).all()
    if not turns:
        return
    session.execute(
        update(ConversationTurn).where(ConversationTurn.job_id.in_(ids)).values(text=WITHOUT_PROMPT),
        execution_options=NO_SYNC,
    )
    titled = {turn.conversation_id for turn in turns if turn.parent_id is None}
    blank = update(Conversation).where(Conversation.id.in_(titled)).values(title=WITHOUT_PROMPT)
    session.execute(blank, execution_options=NO_SYNC)
    others = (
        select(Job.id, Job.spec, Job.finished_at)
        .join(ConversationTurn, ConversationTurn.job_id == Job.id)
        .where(ConversationTurn.conversation_id.in_({turn.conversation_id for turn in turns}))
    )
    told = [row for row in session.execute(others).all() if isinstance(row.spec, dict) and row.spec.get("history")]
    _write_specs(session, {row.id: row.spec for row in told if row.finished_at is not None}, {"history": []})
    # A job needs the earlier messages until it has ended.
    due = {"forgotten": Job.forgotten.op("|")(int(Forgotten.HISTORY_DUE))}
    waiting = Job.id.in_([row.id for row in told if row.finished_at is None])
    session.execute(update(Job).where(waiting).values(due), execution_options=NO_SYNC)


def _forget_histories(session: Session, limit: int) -> int:
    """Delete the history of jobs that had not ended when an earlier message was deleted, and now have."""
    done = 0
    forgets = or_(Tenant.keep_prompts_days.is_not(None), Tenant.keep_jobs_days.is_not(None))
    for tenant in session.scalars(select(Tenant.id).where(forgets)).all():
        marks = [value for value in range(2 * Forgotten.HISTORY_DUE) if value & Forgotten.HISTORY_DUE]
        ids = _due(session, tenant, marks, Job.finished_at <= now(), limit - done)
        _write_specs(session, _specs(session, ids), {"history": []})
        if ids:
            kept = {"forgotten": Job.forgotten.op("&")(~int(Forgotten.HISTORY_DUE))}
            session.execute(update(Job).where(Job.id.in_(ids)).values(kept), execution_options=NO_SYNC)
        done += len(ids)
    return done


def _specs(session: Session, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    return {row.id: row.spec for row in session.execute(select(Job.id, Job.spec).where(Job.id.in_(ids)))}


def _write_specs(session: Session, specs: Mapping[str, object], changed: dict[str, Any]) -> None:
    # A damaged spec may be of any type; nothing of it is kept.
    new = {job_id: {**(spec if isinstance(spec, dict) else {}), **changed} for job_id, spec in specs.items()}
    rows = [{"job": job_id, "new_spec": spec} for job_id, spec in new.items()]
    if rows:
        statement = update(Job).where(Job.id == bindparam("job")).values(spec=bindparam("new_spec"))
        session.connection().execute(statement, rows)


# --- rows ------------------------------------------------------------------------------------------------------------


def _delete_jobs(session: Session, ids: Sequence[str]) -> None:
    _blank_turns(session, ids)
    _delete_images(session, ids)
    give_up_inputs(session, ids)
    session.execute(delete(IdempotencyKey).where(IdempotencyKey.resource_id.in_(ids)), execution_options=NO_SYNC)
    session.execute(delete(Event).where(Event.job_id.in_(ids)), execution_options=NO_SYNC)
    forget_subjects(session, ids)
    deleted = delete(Job).where(Job.id.in_(ids)).returning(Job.bulk_id)
    bulks = {bulk for bulk in session.scalars(deleted, execution_options=NO_SYNC) if bulk is not None}
    _delete_empty_bulks(session, bulks)
    conversations = session.scalars(
        select(ConversationTurn.conversation_id).where(ConversationTurn.job_id.in_(ids)).distinct()
    ).all()
    _delete_empty_conversations(session, conversations)


def _delete_empty_bulks(session: Session, ids: set[str]) -> None:
    """Delete the bulks without jobs; a bulk that is loading may get more."""
    for bulk_id in sorted(ids):
        if session.scalar(select(Job.id).where(Job.bulk_id == bulk_id).limit(1)) is None:
            forget_subjects(session, [bulk_id])
            ended = (Bulk.id == bulk_id) & Bulk.state.in_((BulkState.OPEN, BulkState.PAUSED, BulkState.CANCELED))
            session.execute(delete(Bulk).where(ended), execution_options=NO_SYNC)
            session.execute(delete(IdempotencyKey).where(IdempotencyKey.resource_id == bulk_id))


def _delete_empty_conversations(session: Session, ids: Sequence[str]) -> None:
    """Delete the conversations without jobs. They are locked first, so that no turn is added meanwhile."""
    locked = select(Conversation.id).where(Conversation.id.in_(ids)).order_by(Conversation.id).with_for_update()
    for conversation_id in session.scalars(locked).all():
        jobs = (
            select(Job.id)
            .join(ConversationTurn, ConversationTurn.job_id == Job.id)
            .where(ConversationTurn.conversation_id == conversation_id)
        )
        if session.scalar(jobs.limit(1)) is None:
            drop_conversation(session, conversation_id)


def _delete_images(session: Session, ids: Sequence[str]) -> None:
    deleted = delete(Image).where(Image.job_id.in_(ids)).returning(Image.sha256)
    schedule_blob_deletion(session, sorted(set(session.scalars(deleted, execution_options=NO_SYNC))))
