"""Conversations as the API returns them."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from limner_shared.domain.views import JobView


class ReplyView(BaseModel):
    """The answer in words to a message that asks for no picture."""

    text: str
    language: str = Field(description="Its language, as a code of BCP 47.")
    examples: list[str] = Field(description="Messages that may be sent next, in that language.")


class TurnView(BaseModel):
    """One message of a conversation, and its job or the answer in words."""

    id: str
    parent: str | None = Field(description="The turn that it answers; edited messages have the same one.")
    message: str
    created_at: datetime
    job: JobView | None = Field(description="Null once the job was deleted, and beside a `reply`.")
    reply: ReplyView | None = Field(
        default=None, description='The answer to a message such as "hello" or "what can you draw?", which makes no job.'
    )


class ConversationView(BaseModel):
    """A conversation; in a list, without turns."""

    id: str
    title: str
    created_at: datetime
    touched_at: datetime
    turns: list[TurnView] = Field(default_factory=list[TurnView])
    links: dict[str, str]


class ConversationList(BaseModel):
    """A page of conversations; `next` is the cursor of the next page, if there is one."""

    items: list[ConversationView]
    next: str | None
