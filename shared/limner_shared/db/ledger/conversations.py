"""Conversations and their turns. The job of a turn is an ordinary job, and is kept when the conversation is deleted."""

from __future__ import annotations

from typing import Final

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from limner_shared.db.engine import clock
from limner_shared.db.many_rows import NO_SYNC
from limner_shared.db.tables import Conversation, ConversationTurn
from limner_shared.domain.ids import new_id
from limner_shared.errors import InvalidRequest

MAX_TURNS: Final = 500
TITLE_CHARS: Final = 80
NO_JOB: Final = ""
"""The job of a message that is answered in words."""


def open_conversation(session: Session, tenant_id: str, first_message: str) -> str:
    """Create a conversation, titled with the first message; returns its id."""
    title = title_of(first_message)
    moment = clock(session)
    row = Conversation(id=new_id("conv"), tenant_id=tenant_id, title=title, created_at=moment, touched_at=moment)
    session.add(row)
    session.flush()
    return row.id


def title_of(message: str) -> str:
    """The title that a message gives to its conversation."""
    title = " ".join(message.split())
    return title if len(title) <= TITLE_CHARS else f"{title[: TITLE_CHARS - 1]}…"


def rename_conversation(session: Session, conversation_id: str, title: str) -> None:
    """Give a conversation another title, which replaces its first message's words."""
    renamed = update(Conversation).where(Conversation.id == conversation_id).values(title=title)
    session.execute(renamed, execution_options=NO_SYNC)


def add_turn(session: Session, conversation_id: str, parent_id: str | None, job_id: str, text: str) -> str:
    """Add a message and its job, or NO_JOB; returns the turn's id. Raises InvalidRequest beyond MAX_TURNS."""
    count = session.scalar(select(func.count()).where(ConversationTurn.conversation_id == conversation_id)) or 0
    if count >= MAX_TURNS:
        raise InvalidRequest(f"A conversation has at most {MAX_TURNS} turns: start a new one.", field="message")
    moment = clock(session)
    turn = ConversationTurn(
        id=new_id("turn"),
        conversation_id=conversation_id,
        parent_id=parent_id,
        job_id=job_id,
        text=text,
        created_at=moment,
    )
    session.add(turn)
    touched = update(Conversation).where(Conversation.id == conversation_id).values(touched_at=moment)
    session.execute(touched, execution_options=NO_SYNC)
    session.flush()
    return turn.id


def lock_conversation(session: Session, conversation_id: str) -> None:
    """Wait for a transaction that is adding a turn; a later one finds the conversation as this one leaves it."""
    session.execute(select(Conversation.id).where(Conversation.id == conversation_id).with_for_update())


def drop_conversation(session: Session, conversation_id: str) -> None:
    """Delete a conversation with its turns; the jobs are kept."""
    lock_conversation(session, conversation_id)
    session.execute(
        delete(ConversationTurn).where(ConversationTurn.conversation_id == conversation_id), execution_options=NO_SYNC
    )
    session.execute(delete(Conversation).where(Conversation.id == conversation_id), execution_options=NO_SYNC)
