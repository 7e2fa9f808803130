"""Conversations: describe an image, then ask for changes in further messages."""

from __future__ import annotations

from typing import Annotated, Final

from apiflask import APIBlueprint
from flask import Response, make_response, url_for
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from limner_shared.db import ledger, queries
from limner_shared.db.conversation_search import find_conversations
from limner_shared.db.ledger.conversations import TITLE_CHARS
from limner_shared.domain.conditions import STORABLE, Description
from limner_shared.domain.conversation_views import ConversationList, ConversationView, TurnView
from limner_shared.domain.inputs import (
    MAX_IMAGE_CHARS,
    InputPicture,
    MaskPadding,
    RequestedName,
    RequestedReferences,
)
from limner_shared.domain.jobs import MAX_SEED, JobRequest
from limner_shared.domain.search_words import read_query
from limner_shared.errors import Gone
from limner_web.auth import tenant_id
from limner_web.intake import conversations
from limner_web.intake.headers import JobHeaders
from limner_web.services import get_services
from limner_web.view_builders import conversation_view, turn_views

bp = APIBlueprint("conversations", __name__, url_prefix="/api/v1/conversations", tag="Conversations")

FROM_WORDS: Final = "none"
"""As `image`: start from words, although the earlier turn starts from a picture."""


class Message(RequestedReferences):
    """A message, and parameters that override what the message says."""

    model_config = ConfigDict(extra="forbid")
    message: Description = Field(
        description="What you want, in your own words and in any language.", examples=["bluer"]
    )
    model: RequestedName | None = Field(
        default=None, description="A name from `GET /models`. Defaults to the previous turn's model."
    )
    style: RequestedName | None = Field(default=None, description="One of the model's styles.")
    width: int | None = Field(default=None, strict=True, description="The width, in pixels.")
    height: int | None = Field(default=None, strict=True, description="The height, in pixels.")
    steps: int | None = Field(default=None, strict=True, description="The number of denoising steps.")
    guidance: float | None = Field(
        default=None, allow_inf_nan=False, description="How strictly the prompt is followed."
    )
    image: str | None = Field(
        default=None,
        max_length=MAX_IMAGE_CHARS,
        description="What to start from: the id of one of your pictures, or a `data:` URL of a PNG, JPEG or WebP. "
        "Defaults to what the earlier turn starts from, if the model can; `none` starts from words.",
    )
    mask: InputPicture | None = Field(
        default=None,
        description="White where the picture that the message starts from may change; as `image`. Later messages are "
        "without it.",
    )
    padding_mask_crop: MaskPadding | None = Field(
        default=None, description="With `mask`: draw only the part around its white, as in `POST /jobs`."
    )
    strength: float | None = Field(
        default=None,
        gt=0,
        le=1,
        allow_inf_nan=False,
        description="How far the picture may differ from `image`. Defaults to the earlier turn's, or 0.8.",
    )
    control_image: InputPicture | None = Field(
        default=None,
        description="For a model that follows one: the control picture, as `image`. Defaults to the earlier turn's.",
    )
    control_scale: float | None = Field(
        default=None, allow_inf_nan=False, description="How strictly `control_image` is followed."
    )
    n: int | None = Field(default=None, ge=1, strict=True, description="The number of images.")
    seed: int | None = Field(
        default=None, ge=0, le=MAX_SEED, strict=True, description="The seed of the first image. Random by default."
    )

    @property
    def request(self) -> JobRequest:
        """The job request that the message makes."""
        excluded = {"message", "after", "image"} if self.from_words else {"message", "after"}
        return JobRequest(description=self.message, **self.model_dump(exclude=excluded, exclude_none=True))

    @property
    def from_words(self) -> bool:
        """Whether the message gives up the picture that the earlier turn starts from."""
        return self.image == FROM_WORDS


class FurtherMessage(Message):
    """A message that follows an earlier turn."""

    after: str | None = Field(default=None, description="The turn that the message follows. Defaults to the newest.")


class Title(BaseModel):
    """The title of a conversation."""

    model_config = ConfigDict(extra="forbid")
    title: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=TITLE_CHARS), STORABLE]


class ListQuery(BaseModel):
    """The filter and the page of the list."""

    model_config = ConfigDict(extra="forbid")
    q: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Only conversations whose title and messages (the first 300 characters of each) have all of these "
        "words, as in `GET /jobs`. A page may then have fewer of them, or none, although more follow.",
    )
    limit: int = Field(default=50, ge=1, le=100, description="The number of conversations per page.")
    cursor: str | None = Field(default=None, description="The value of `next` from the previous page.")


@bp.post("")
@bp.input(Message, arg_name="body")
@bp.input(JobHeaders, location="headers", arg_name="header")
@bp.output(ConversationView, status_code=201)
def create_conversation(body: Message, header: JobHeaders) -> Response:
    """Create a conversation.

    Starts a conversation with its first message, which becomes a job.
    """
    conversation_id = conversations.create(get_services(), tenant_id(), body.request, header)
    answer = make_response(_view(conversation_id).model_dump(mode="json"), 201)
    answer.headers["Location"] = url_for("conversations.get_conversation", conversation_id=conversation_id)
    return answer


@bp.get("")
@bp.input(ListQuery, location="query", arg_name="query")
@bp.output(ConversationList)
def list_conversations(query: ListQuery) -> ConversationList:
    """List conversations.

    Returns conversations, newest first, without their turns.
    """
    services = get_services()
    words = None if query.q is None else read_query(query.q)
    with services.database.read() as session:
        if words is None:
            rows = queries.conversations(session, tenant_id(), query.limit + 1, query.cursor)
            following = rows[query.limit - 1].id if len(rows) > query.limit else None
        else:
            rows, following = find_conversations(session, tenant_id(), words, query.limit, query.cursor)
        views = [conversation_view(session, services.hints, row, with_turns=False) for row in rows[: query.limit]]
    return ConversationList(items=views, next=following)


@bp.get("/<id:conversation_id>")
@bp.output(ConversationView)
def get_conversation(conversation_id: str) -> ConversationView:
    """Retrieve a conversation.

    Returns the conversation with all its turns and their jobs.
    """
    return _view(conversation_id)


@bp.put("/<id:conversation_id>/title")
@bp.input(Title, arg_name="body")
@bp.output(ConversationView)
def rename_conversation(conversation_id: str, body: Title) -> ConversationView:
    """Rename a conversation.

    Gives the conversation another title than its first message. Retention deletes it with the first message.
    """
    with get_services().database.write() as session:
        queries.conversation(session, tenant_id(), conversation_id)
        ledger.rename_conversation(session, conversation_id, body.title)
    return _view(conversation_id)


@bp.delete("/<id:conversation_id>")
@bp.output({}, status_code=204)
def delete_conversation(conversation_id: str) -> str:
    """Delete a conversation.

    Deletes the conversation, its turns and the pictures that they start from. Their jobs and images remain.
    """
    with get_services().database.write() as session:
        queries.conversation(session, tenant_id(), conversation_id)
        ledger.delete_conversation(session, conversation_id)
    return ""


@bp.post("/<id:conversation_id>/messages")
@bp.input(FurtherMessage, arg_name="body")
@bp.input(JobHeaders, location="headers", arg_name="header")
@bp.output(TurnView, status_code=202)
def create_message(conversation_id: str, body: FurtherMessage, header: JobHeaders) -> TurnView:
    """Add a message.

    Says what should change or what to draw next. The message becomes a job that takes the earlier turns into account.
    """
    turn_id = conversations.add_message(
        get_services(), tenant_id(), conversation_id, body.request, body.after, header, from_words=body.from_words
    )
    return _turn_view(conversation_id, turn_id)


@bp.put("/<id:conversation_id>/turns/<id:turn_id>")
@bp.input(Message, arg_name="body")
@bp.input(JobHeaders, location="headers", arg_name="header")
@bp.output(TurnView, status_code=202)
def edit_turn(conversation_id: str, turn_id: str, body: Message, header: JobHeaders) -> TurnView:
    """Edit a turn.

    Adds a new version of the message as a turn beside the old one. The old turn and those that follow it remain.
    """
    new_turn_id = conversations.edit_turn(
        get_services(), tenant_id(), conversation_id, body.request, turn_id, header, from_words=body.from_words
    )
    return _turn_view(conversation_id, new_turn_id)


def _view(conversation_id: str) -> ConversationView:
    services = get_services()
    with services.database.read() as session:
        row = queries.conversation(session, tenant_id(), conversation_id)
        return conversation_view(session, services.hints, row)


def _turn_view(conversation_id: str, turn_id: str) -> TurnView:
    services = get_services()
    with services.database.read() as session:
        turns = [pair for pair in queries.turns(session, conversation_id) if pair[0].id == turn_id]
        if not turns:
            raise Gone
        return turn_views(session, services.hints, turns)[0]
