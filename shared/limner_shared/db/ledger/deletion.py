"""Deletion of a job, an image or a conversation by its owner.

Idempotency keys remain, so that a late repetition of the request that made the job does not make it again.
"""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from limner_shared.db import queries
from limner_shared.db.ledger.blob_deletion import give_up_inputs, schedule_blob_deletion
from limner_shared.db.ledger.conversations import drop_conversation, lock_conversation
from limner_shared.db.ledger.erasure import delete_jobs, lock_for_deletion, mark_history_due
from limner_shared.db.ledger.transitions import increase_version, lock_job, record
from limner_shared.db.ledger.types import Change, EventKind
from limner_shared.db.library_tables import Label
from limner_shared.db.many_rows import NO_SYNC
from limner_shared.db.tables import ConversationTurn, Image, Input, Job
from limner_shared.domain.jobs import JobState
from limner_shared.errors import InvalidState, NotFound


def delete_job(session: Session, tenant_id: str, job_id: str) -> Change:
    """Delete a tenant's job that has ended, with its events, prompt, images and labels; its blobs follow later, unless
    other rows refer to them.

    Raises NotFound, or InvalidState for a job that has not ended.
    """
    lock_for_deletion(session, [job_id])
    row = lock_job(session, tenant_id, job_id)
    state = JobState(row.state)
    if not state.terminal:
        raise InvalidState(f"The job is {state}: cancel it first, then delete it.", state=state)
    delete_jobs(session, [job_id], with_keys=False)
    return Change(row.id, tenant_id, row.bulk_id, row.model, state, row.version + 1, deleted=True)


def delete_image(session: Session, tenant_id: str, image_id: str) -> Change:
    """Delete a tenant's image; its blob follows later, unless other rows refer to it. Raises NotFound."""
    row = lock_job(session, tenant_id, queries.image(session, tenant_id, image_id).job_id)
    deleted = delete(Image).where(Image.id == image_id).returning(Image.sha256)
    digests = session.scalars(deleted, execution_options=NO_SYNC).all()
    if not digests:  # another request deleted it first
        raise NotFound(f"There is no image {image_id}.")
    schedule_blob_deletion(session, digests)
    of_image = (Label.job_id == row.id) & (Label.image_id == image_id)
    session.execute(delete(Label).where(of_image), execution_options=NO_SYNC)
    record(session, EventKind.IMAGE_DELETED, [row.id], {"image": image_id})
    return increase_version(session, row)


def delete_conversation(session: Session, conversation_id: str) -> None:
    """Delete a conversation with its turns and the pictures that they start from; its jobs and their images are kept.

    A job that has not ended keeps its input until then.
    """
    lock_conversation(session, conversation_id)
    turns = select(ConversationTurn.job_id).where(ConversationTurn.conversation_id == conversation_id)
    started = select(Job.id, Job.finished_at).where(Job.id.in_(turns), Job.id.in_(select(Input.job_id)))
    rows = session.execute(started).all()
    give_up_inputs(session, [row.id for row in rows if row.finished_at is not None])
    mark_history_due(session, [row.id for row in rows if row.finished_at is None])
    drop_conversation(session, conversation_id)
