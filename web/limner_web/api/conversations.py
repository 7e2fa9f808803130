"""Conversations: describe a picture, then say what should be different."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response, make_response, url_for
from pydantic import BaseModel, ConfigDict, Field

from limner_shared.db import ledger, queries
from limner_shared.domain.conditions import Description
from limner_shared.domain.jobs import JobRequest, RequestedName
from limner_shared.domain.views import ConversationList, ConversationView, TurnView
from limner_shared.errors import Gone
from limner_web.auth import tenant_id
from limner_web.intake import conversations
from limner_web.intake.headers import JobHeaders
from limner_web.services import services
from limner_web.view_builders import conversation_view, turn_views

bp = APIBlueprint("conversations", __name__, url_prefix="/api/v1/conversations", tag="Conversations")


class Message(BaseModel):
    """What is said, and the conditions that are chosen beside it."""

    model_config = ConfigDict(extra="forbid")
    message: Description = Field(description="In your own words, in any language.", examples=["bluer"])
    model: RequestedName | None = Field(
        default=None, description="A name from `GET /models`; left out: the turn's before."
    )
    style: RequestedName | None = Field(default=None, description="One of the model's styles.")
    width: int | None = Field(default=None, strict=True, description="Pixels.")
    height: int | None = Field(default=None, strict=True, description="Pixels.")
    steps: int | None = Field(default=None, strict=True, description="Denoising steps.")
    guidance: float | None = Field(default=None, allow_inf_nan=False, description="How strictly words are followed.")
    n: int | None = Field(default=None, ge=1, strict=True, description="How many pictures.")
    seed: int | None = Field(default=None, ge=0, lt=2**32, strict=True, description="For the same picture again.")

    @property
    def request(self) -> JobRequest:
        """The job that it asks for."""
        chosen = self.model_dump(exclude={"message", "after"}, exclude_none=True)
        return JobRequest(description=self.message, **chosen)


class FurtherMessage(Message):
    """A message that follows another."""

    after: str | None = Field(default=None, description="The turn that it follows; left out: the newest.")


class ListQuery(BaseModel):
    """How many conversations."""

    model_config = ConfigDict(extra="forbid")
    limit: int = Field(default=50, ge=1, le=100)
    cursor: str | None = Field(default=None, description="`next` of the page before.")


@bp.post("")
@bp.input(Message, arg_name="body")
@bp.input(JobHeaders, location="headers", arg_name="header")
@bp.output(ConversationView, status_code=201)
def create_conversation(body: Message, header: JobHeaders) -> Response:
    """Begin a conversation: its first message becomes a job."""
    conversation_id = conversations.begin(services(), tenant_id(), body.request, header)
    answer = make_response(_view(conversation_id).model_dump(mode="json"), 201)
    answer.headers["Location"] = url_for("conversations.get_conversation", conversation_id=conversation_id)
    return answer


@bp.get("")
@bp.input(ListQuery, location="query", arg_name="query")
@bp.output(ConversationList)
def list_conversations(query: ListQuery) -> ConversationList:
    """List conversations, newest first, without their turns."""
    held = services()
    with held.database.read() as session:
        rows = queries.conversations(session, tenant_id(), query.limit + 1, query.cursor)
        views = [conversation_view(session, held.hints, row, whole=False) for row in rows[: query.limit]]
    return ConversationList(items=views, next=views[-1].id if len(rows) > query.limit else None)


@bp.get("/<id:conversation_id>")
@bp.output(ConversationView)
def get_conversation(conversation_id: str) -> ConversationView:
    """Look at a conversation, with every turn and its job."""
    return _view(conversation_id)


@bp.delete("/<id:conversation_id>")
@bp.output({}, status_code=204)
def delete_conversation(conversation_id: str) -> str:
    """Delete a conversation; its jobs and their pictures stay."""
    with services().database.write() as session:
        queries.conversation(session, tenant_id(), conversation_id)
        ledger.drop_conversation(session, conversation_id)
    return ""


@bp.post("/<id:conversation_id>/messages")
@bp.input(FurtherMessage, arg_name="body")
@bp.input(JobHeaders, location="headers", arg_name="header")
@bp.output(TurnView, status_code=202)
def create_message(conversation_id: str, body: FurtherMessage, header: JobHeaders) -> TurnView:
    """Say what should be different, or what comes next: it becomes a job that knows what was said before."""
    turn_id = conversations.say(services(), tenant_id(), conversation_id, body.request, body.after, header)
    return _turn_view(conversation_id, turn_id)


@bp.put("/<id:conversation_id>/turns/<id:turn_id>")
@bp.input(Message, arg_name="body")
@bp.input(JobHeaders, location="headers", arg_name="header")
@bp.output(TurnView, status_code=202)
def edit_turn(conversation_id: str, turn_id: str, body: Message, header: JobHeaders) -> TurnView:
    """Say it otherwise: a new turn beside the old one, which stays with what followed it."""
    return _turn_view(
        conversation_id, conversations.edit(services(), tenant_id(), conversation_id, body.request, turn_id, header)
    )


def _view(conversation_id: str) -> ConversationView:
    held = services()
    with held.database.read() as session:
        row = queries.conversation(session, tenant_id(), conversation_id)
        return conversation_view(session, held.hints, row)


def _turn_view(conversation_id: str, turn_id: str) -> TurnView:
    held = services()
    with held.database.read() as session:
        turns = [pair for pair in queries.turns(session, conversation_id) if pair[0].id == turn_id]
        if not turns:
            raise Gone
        return turn_views(session, held.hints, turns)[0]
