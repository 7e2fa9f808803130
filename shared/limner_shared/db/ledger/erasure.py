"""What the deletion of a job or of its prompt removes, in every table. Retention and clients delete through here.

`lock_for_deletion` comes first in each transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntFlag
from typing import Any, Final, cast

from sqlalchemy import bindparam, delete, null, select, update
from sqlalchemy.orm import Session

from limner_shared.db.ledger.blob_deletion import give_up_inputs, schedule_blob_deletion
from limner_shared.db.ledger.conversations import drop_conversation, title_of
from limner_shared.db.ledger.transitions import lock
from limner_shared.db.library_tables import Label
from limner_shared.db.many_rows import NO_SYNC
from limner_shared.db.tables import Bulk, Conversation, ConversationTurn, Event, IdempotencyKey, Image, Job
from limner_shared.db.webhooks.log import blank_subjects, forget_subjects
from limner_shared.domain.bulks import BulkState
from limner_shared.domain.labels import FAVOURITE
from limner_shared.domain.replay import DRAWN_AS, RECOGNITION, SCENE

WITHOUT_PROMPT: Final = ""
TELLING: Final = frozenset((DRAWN_AS, SCENE, RECOGNITION))
"""The parts of receipts that reveal prompts."""


class Forgotten(IntFlag):
    """The retention steps done to a job, stored in `jobs.forgotten`."""

    IMAGES = 1
    PROMPT = 2
    HISTORY_DUE = 4
    """The earlier messages in its spec, and the input of a deleted conversation, must be deleted as soon as it has
    ended."""


EVERY_FORGOTTEN: Final = range(sum(Forgotten) + 1)
"""All values of `jobs.forgotten`, which the index of ended jobs has before their time: queries name those they mean."""


def lock_for_deletion(session: Session, ids: Sequence[str]) -> list[str]:
    """Lock these jobs and their conversations; returns the jobs that no other transaction has locked.

    The conversations come first and in a fixed order, because a deletion also changes the jobs of later turns: so no
    two deletions wait for each other.
    """
    of_these = select(ConversationTurn.conversation_id).where(ConversationTurn.job_id.in_(ids))
    conversations = select(Conversation.id).where(Conversation.id.in_(of_these)).order_by(Conversation.id)
    session.execute(conversations.with_for_update())
    return lock(session, select(Job.id).where(Job.id.in_(ids)).order_by(Job.id)) if ids else []


# --- texts -----------------------------------------------------------------------------------------------------------


def blank(session: Session, ids: Sequence[str]) -> None:
    """Blank everything that the client or the model wrote, in all places."""
    words = dict.fromkeys(("prompt", "negative_prompt", "dropped_negative"), WITHOUT_PROMPT)
    write_specs(session, specs(session, ids), words | {"description": None, "history": [], "scene": None})
    values: dict[str, Any] = {"extra": {}, "interpretation": null(), "presentation": None}
    session.execute(update(Job).where(Job.id.in_(ids)).values(values), execution_options=NO_SYNC)
    # A deduplication key is a hash over the prompt, so a guess could be tested against it.
    said = {Image.alt_text: None, Image.deduplication_key: None}
    session.execute(update(Image).where(Image.job_id.in_(ids)).values(said), execution_options=NO_SYNC)
    session.execute(delete(Label).where(Label.job_id.in_(ids), Label.label != FAVOURITE), execution_options=NO_SYNC)
    _blank_receipts(session, ids)
    _blank_skipped(session, ids)
    blank_subjects(session, ids)
    blank_turns(session, ids)


def _blank_receipts(session: Session, ids: Sequence[str]) -> None:
    """Blank the parts of receipts that reveal the prompt; a receipt is complete without them."""
    found = session.execute(select(Image.id, Image.receipt).where(Image.job_id.in_(ids)))
    rows = [
        {"image": row.id, "new_receipt": {key: value for key, value in row.receipt.items() if key not in TELLING}}
        for row in found
        if not TELLING.isdisjoint(row.receipt)
    ]
    if rows:
        statement = update(Image).where(Image.id == bindparam("image")).values(receipt=bindparam("new_receipt"))
        session.connection().execute(statement, rows)


def _blank_skipped(session: Session, ids: Sequence[str]) -> None:
    """Blank the errors of lines that these jobs' bulks have left out, which quote them. Their number is kept."""
    bulks = set(session.scalars(select(Job.bulk_id).where(Job.id.in_(ids), Job.bulk_id.is_not(None)).distinct()))
    for row in session.execute(select(Bulk.id, Bulk.skipped).where(Bulk.id.in_(bulks))).all() if bulks else ():
        if row.skipped is not None and row.skipped.get("errors"):
            told = row.skipped | {"errors": []}
            session.execute(update(Bulk).where(Bulk.id == row.id).values(skipped=told), execution_options=NO_SYNC)


def blank_turns(session: Session, ids: Sequence[str]) -> None:
    """Blank these jobs' turns, and the copies of them in the specs of later turns' jobs."""
    turns = session.execute(
        select(ConversationTurn.conversation_id, ConversationTurn.parent_id, ConversationTurn.text, Conversation.title)
        .join(Conversation, Conversation.id == ConversationTurn.conversation_id)
        .where(ConversationTurn.job_id.in_(ids))
    ).all()
    if not turns:
        return
    session.execute(
        update(ConversationTurn).where(ConversationTurn.job_id.in_(ids)).values(text=WITHOUT_PROMPT),
        execution_options=NO_SYNC,
    )
    titled = {each.conversation_id for each in turns if each.parent_id is None or title_of(each.text) == each.title}
    blank = update(Conversation).where(Conversation.id.in_(titled)).values(title=WITHOUT_PROMPT)
    session.execute(blank, execution_options=NO_SYNC)
    others = (
        select(Job.id, Job.spec, Job.finished_at)
        .join(ConversationTurn, ConversationTurn.job_id == Job.id)
        .where(ConversationTurn.conversation_id.in_({turn.conversation_id for turn in turns}))
    )
    told = [row for row in session.execute(others).all() if _has_history(row.spec)]
    write_specs(session, {row.id: row.spec for row in told if row.finished_at is not None}, {"history": []})
    mark_history_due(session, [row.id for row in told if row.finished_at is None])


def mark_history_due(session: Session, ids: Sequence[str]) -> None:
    """Mark jobs that need what their conversation gave them until they have ended."""
    due = {"forgotten": Job.forgotten.op("|")(int(Forgotten.HISTORY_DUE))}
    session.execute(update(Job).where(Job.id.in_(ids)).values(due), execution_options=NO_SYNC)


def _has_history(spec: object) -> bool:
    """Whether a stored spec has earlier messages; a damaged one may be of any type."""
    return isinstance(spec, dict) and bool(cast("dict[str, Any]", spec).get("history"))


def specs(session: Session, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The stored specs of these jobs."""
    return {row.id: row.spec for row in session.execute(select(Job.id, Job.spec).where(Job.id.in_(ids)))}


def write_specs(session: Session, specs: Mapping[str, object], changed: dict[str, Any]) -> None:
    """Change fields of the stored specs of these jobs."""
    # A damaged spec may be of any type; nothing of it is kept.
    kept = {job_id: cast("dict[str, Any]", spec) for job_id, spec in specs.items() if isinstance(spec, dict)}
    rows = [{"job": job_id, "new_spec": {**kept.get(job_id, {}), **changed}} for job_id in specs]
    if rows:
        statement = update(Job).where(Job.id == bindparam("job")).values(spec=bindparam("new_spec"))
        session.connection().execute(statement, rows)


# --- rows ------------------------------------------------------------------------------------------------------------


def delete_jobs(session: Session, ids: Sequence[str], *, with_keys: bool) -> None:
    """Delete these jobs with everything derived from them: images, labels, events, texts in conversations; and bulks
    and conversations without jobs. `with_keys` deletes their idempotency keys as well.
    """
    blank_turns(session, ids)
    delete_images(session, ids)
    give_up_inputs(session, ids)
    if with_keys:
        session.execute(delete(IdempotencyKey).where(IdempotencyKey.resource_id.in_(ids)), execution_options=NO_SYNC)
    session.execute(delete(Event).where(Event.job_id.in_(ids)), execution_options=NO_SYNC)
    session.execute(delete(Label).where(Label.job_id.in_(ids)), execution_options=NO_SYNC)
    forget_subjects(session, ids)
    deleted = delete(Job).where(Job.id.in_(ids)).returning(Job.bulk_id)
    bulks = {bulk for bulk in session.scalars(deleted, execution_options=NO_SYNC) if bulk is not None}
    _delete_empty_bulks(session, bulks, with_keys=with_keys)
    conversations = session.scalars(
        select(ConversationTurn.conversation_id).where(ConversationTurn.job_id.in_(ids)).distinct()
    ).all()
    _delete_empty_conversations(session, conversations)


def _delete_empty_bulks(session: Session, ids: set[str], *, with_keys: bool) -> None:
    """Delete the bulks without jobs; a bulk that is loading may get more."""
    for bulk_id in sorted(ids):
        if session.scalar(select(Job.id).where(Job.bulk_id == bulk_id).limit(1)) is None:
            forget_subjects(session, [bulk_id])
            ended = (Bulk.id == bulk_id) & Bulk.state.in_((BulkState.OPEN, BulkState.PAUSED, BulkState.CANCELED))
            session.execute(delete(Bulk).where(ended), execution_options=NO_SYNC)
            if with_keys:
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


def delete_images(session: Session, ids: Sequence[str]) -> None:
    """Delete the images of these jobs, and schedule the deletion of their blobs."""
    deleted = delete(Image).where(Image.job_id.in_(ids)).returning(Image.sha256)
    schedule_blob_deletion(session, sorted(set(session.scalars(deleted, execution_options=NO_SYNC))))
    of_images = Label.job_id.in_(ids) & (Label.image_id != "")
    session.execute(delete(Label).where(of_images), execution_options=NO_SYNC)
