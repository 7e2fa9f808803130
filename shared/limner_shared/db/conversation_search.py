"""Finds a tenant's conversations by words of their titles and messages, in bounded time.

The newest conversations are read and compared. So a page may have fewer of them than asked for, or none, although more
follow.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from limner_shared.db import queries
from limner_shared.db.tables import Conversation, ConversationTurn
from limner_shared.domain.search_words import have_all

CANDIDATES: Final = 300
"""Conversations that one page looks at."""
MESSAGES: Final = 1000
"""Messages that one page reads; more than one conversation has."""
READ_CHARS: Final = 300
"""Of a longer message, only the beginning is searched: to split a million characters into words takes half a second,
in which a web process does nothing else.
"""


class FoundConversations(NamedTuple):
    """A page of conversations, the newest first, and the cursor of the next page, if there may be more."""

    rows: list[Conversation]
    next: str | None


def find_conversations(
    session: Session, tenant_id: str, words: Collection[str], limit: int, before: str | None
) -> FoundConversations:
    """A page of a tenant's conversations with all of these words, older than the id `before`."""
    rows = queries.conversations(session, tenant_id, CANDIDATES, before)
    texts = {row.id: [row.title] for row in rows}
    newest = (
        select(ConversationTurn.conversation_id, func.substr(ConversationTurn.text, 1, READ_CHARS))
        .where(ConversationTurn.conversation_id.in_(texts))
        .order_by(ConversationTurn.conversation_id.desc())
        .limit(MESSAGES)
    )
    messages = session.execute(newest).all()
    for conversation_id, text in messages:
        texts[conversation_id].append(text)
    is_cut = len(messages) == MESSAGES  # the last conversation may have further messages
    read = [row for row in rows if not is_cut or row.id > messages[-1][0]]
    hits = [row for row in read if have_all(words, texts[row.id])]
    if len(hits) > limit:
        return FoundConversations(hits[:limit], hits[limit - 1].id)
    return FoundConversations(hits, read[-1].id if is_cut or len(rows) == CANDIDATES else None)
