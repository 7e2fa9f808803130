"""Retention: each tenant sets for how many days images, prompts and whole jobs are kept.

Each function handles at most `limit` rows, of the tenants in `scope`, and returns how many it handled. A job's
`forgotten` records what is done, so that it is not read again. `blob_deletion` handles the blobs that rows no longer
refer to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import ColumnElement, delete, exists, func, select, text, true, union_all, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from limner_shared.db.engine import clock, now
from limner_shared.db.ledger.blob_deletion import give_up_inputs
from limner_shared.db.ledger.conversations import NO_JOB, drop_conversation
from limner_shared.db.ledger.erasure import (
    EVERY_FORGOTTEN,
    Forgotten,
    blank,
    delete_images,
    delete_jobs,
    lock_for_deletion,
    specs,
    write_specs,
)
from limner_shared.db.ledger.transitions import lock
from limner_shared.db.many_rows import NO_SYNC
from limner_shared.db.tables import FINISHED, HISTORY_DUE, Conversation, ConversationTurn, Job, Tenant, Usage
from limner_shared.domain.durations import DAY_SECONDS

ALL_TENANTS: Final = true()
USAGE_DAYS: Final = 92
"""Days for which usage counts are kept: a quarter of a year."""


def forget_images(session: Session, limit: int, scope: ColumnElement[bool] = ALL_TENANTS) -> int:
    """Delete the images and inputs of jobs that ended before their tenant's image retention period."""
    done = 0
    for tenant, old in _tenants(session, Tenant.keep_images_days, scope):
        ids = _due(session, tenant, _without(Forgotten.IMAGES), old, limit - done)
        delete_images(session, ids)
        give_up_inputs(session, ids)
        _mark(session, ids, Forgotten.IMAGES)
        done += len(ids)
    return done


def forget_prompts(session: Session, limit: int, scope: ColumnElement[bool] = ALL_TENANTS) -> int:
    """Blank the texts and the metadata of jobs that ended before their tenant's prompt retention period."""
    done = 0
    for tenant, old in _tenants(session, Tenant.keep_prompts_days, scope):
        ids = _due(session, tenant, _without(Forgotten.PROMPT), old, limit - done)
        blank(session, ids)
        _mark(session, ids, Forgotten.PROMPT)
        done += len(ids)
    return done


def forget_histories(session: Session, limit: int) -> int:
    """Delete the history of jobs that had not ended when an earlier message was deleted, and now have; also the inputs
    of those whose conversation was deleted.
    """
    ids = lock(session, select(Job.id).where(text(HISTORY_DUE)).order_by(Job.id).limit(limit))
    write_specs(session, specs(session, ids), {"history": []})
    if ids:
        remaining = set(session.scalars(select(ConversationTurn.job_id).where(ConversationTurn.job_id.in_(ids))))
        give_up_inputs(session, [job_id for job_id in ids if job_id not in remaining])
        kept = {"forgotten": Job.forgotten.op("&")(~int(Forgotten.HISTORY_DUE))}
        session.execute(update(Job).where(Job.id.in_(ids)).values(kept), execution_options=NO_SYNC)
    return len(ids)


def forget_jobs(session: Session, limit: int, scope: ColumnElement[bool] = ALL_TENANTS) -> int:
    """Delete jobs that ended before their tenant's job retention period, with everything derived from them: images,
    events, idempotency keys, texts in conversations; and bulks and conversations without jobs. Conversations of small
    talk alone are deleted after the same time.
    """
    done = 0
    for tenant, old in _tenants(session, Tenant.keep_jobs_days, scope):
        ids = _due(session, tenant, EVERY_FORGOTTEN, old, limit - done)
        if ids:
            delete_jobs(session, ids, with_keys=True)
        done += len(ids) + _forget_conversations(session, tenant, old, limit - done)
    return done


def forget_usage(session: Session) -> None:
    """Delete the usage counts of days that are older than USAGE_DAYS."""
    moment = clock(session)
    old = datetime.fromtimestamp(moment - USAGE_DAYS * DAY_SECONDS, UTC).date().isoformat()
    session.execute(delete(Usage).where(Usage.day < old), execution_options=NO_SYNC)


# --- due jobs --------------------------------------------------------------------------------------------------------


def _tenants(
    session: Session, days: InstrumentedAttribute[float | None], scope: ColumnElement[bool]
) -> Iterator[tuple[str, ColumnElement[float]]]:
    """Each tenant in `scope` with a retention period, and the time before which a job must have ended to be due. The
    order is random: a tenant whose jobs fill one pass after another must not come first each time.
    """
    query = select(Tenant.id, days).where(days.is_not(None), scope).order_by(func.random())
    for tenant, kept in session.execute(query).all():
        yield tenant, now() - (kept or 0.0) * DAY_SECONDS


def _without(flag: Forgotten) -> list[int]:
    return [value for value in EVERY_FORGOTTEN if not value & flag]


def _due(session: Session, tenant: str, marks: Sequence[int], old: ColumnElement[float], limit: int) -> list[str]:
    """Lock a tenant's jobs that are due and have one of these marks, the oldest first: one index range for each mark.
    Jobs that another transaction has locked are left to the next run.
    """
    if limit <= 0:
        return []
    ended = select(Job.id).where(Job.tenant_id == tenant, text(f"jobs.{FINISHED}"), Job.finished_at <= old)
    each = [
        select(ended.where(Job.forgotten == mark).order_by(Job.finished_at).limit(limit).subquery().c.id)
        for mark in marks
    ]
    return lock_for_deletion(session, session.scalars(union_all(*each).limit(limit)).all())


def _forget_conversations(session: Session, tenant: str, old: ColumnElement[float], limit: int) -> int:
    """Delete a tenant's conversations that have had no message since, and none that made a job: no job's deletion
    reaches them.
    """
    if limit <= 0:
        return 0
    made = exists().where(ConversationTurn.conversation_id == Conversation.id, ConversationTurn.job_id != NO_JOB)
    silent = select(Conversation.id).where(Conversation.tenant_id == tenant, Conversation.touched_at <= old, ~made)
    ids = session.scalars(silent.order_by(Conversation.touched_at).limit(limit).with_for_update(skip_locked=True)).all()
    for conversation_id in ids:
        drop_conversation(session, conversation_id)
    return len(ids)


def _mark(session: Session, ids: Sequence[str], flag: Forgotten) -> None:
    """Set a mark and increase the version, since the job looks different from now on."""
    if ids:
        values = {"forgotten": Job.forgotten.op("|")(int(flag)), "version": Job.version + 1}
        session.execute(update(Job).where(Job.id.in_(ids)).values(values), execution_options=NO_SYNC)
