"""Conversations: each message becomes a job that carries the earlier turns. Every API adds messages through here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from limner_shared.db import ledger, queries
from limner_shared.db.tables import ConversationTurn, Job
from limner_shared.domain.conditions import Conditions, Turn
from limner_shared.domain.jobs import JobRequest, JobSpec
from limner_shared.errors import Gone, NotFound
from limner_web.intake.headers import JobHeaders
from limner_web.intake.submission import ConversationContext, StartPicture, submit
from limner_web.limits import MAX_HISTORY_TURNS
from limner_web.services import Services

TurnRows = Sequence[tuple[ConversationTurn, Job | None]]
FROM_WORDS: Final = ", from words"
"""Part of a message's place in its conversation."""


def create(services: Services, tenant_id: str, request: JobRequest, header: JobHeaders) -> str:
    """Create a conversation with its first turn; returns the conversation's id. Raises what `submit` raises."""

    def store_turn(session: Session, job_id: str) -> None:
        conversation_id = ledger.open_conversation(session, tenant_id, request.description or "")
        ledger.add_turn(session, conversation_id, None, job_id, request.description or "")

    job_id = _submit(services, tenant_id, request, header, ConversationContext("new conversation", (), store_turn))
    with services.database.read() as session:
        return _turn_of(session, job_id).conversation_id


def add_message(
    services: Services,
    tenant_id: str,
    conversation_id: str,
    request: JobRequest,
    after: str | None,
    header: JobHeaders,
    *,
    from_words: bool = False,
) -> str:
    """Add a message after the turn `after`, or after the newest turn; returns the new turn's id.

    Without an image of its own it starts from the earlier turn's, unless `from_words`.

    Raises NotFound if `after` is not a turn of this conversation, and what `submit` raises.
    """
    with services.database.read() as session:
        queries.conversation(session, tenant_id, conversation_id)
        turns = queries.turns(session, conversation_id)
        parent = after or (turns[-1][0].id if turns else None)
        start = None if from_words else _start_picture(session, turns, parent)
    # `place` holds only what the client sent: the newest turn may be this message, from an earlier try.
    place = f"{conversation_id} after {after or 'the newest'}{FROM_WORDS if from_words else ''}"
    context = _context(tenant_id, conversation_id, place, turns, parent, request.description or "")
    return _add_turn(services, tenant_id, request, header, replace(context, start=start))


def edit_turn(
    services: Services,
    tenant_id: str,
    conversation_id: str,
    request: JobRequest,
    turn_id: str,
    header: JobHeaders,
    *,
    from_words: bool = False,
) -> str:
    """Add a new version of an earlier turn beside it; returns the new turn's id.

    Without an image of its own it starts from that turn's, unless `from_words`.

    Raises NotFound if the turn is not in this conversation, and what `submit` raises.
    """
    with services.database.read() as session:
        queries.conversation(session, tenant_id, conversation_id)
        turns = queries.turns(session, conversation_id)
        start = None if from_words else _start_picture(session, turns, turn_id)
    edited = next((turn for turn, _ in turns if turn.id == turn_id), None)
    if edited is None:
        raise NotFound(f"There is no turn {turn_id} in this conversation.")
    place = f"{conversation_id} instead of {turn_id}{FROM_WORDS if from_words else ''}"
    context = _context(tenant_id, conversation_id, place, turns, edited.parent_id, request.description or "")
    return _add_turn(services, tenant_id, request, header, replace(context, start=start))


def conditions_of(job: Job) -> Conditions | None:
    """The conditions that a job's images are made with; None until its description has been interpreted."""
    spec = JobSpec.read(job.spec)
    # The prompt is empty once retention has deleted it.
    if job.interpretation is None or spec is None or not spec.prompt:
        return None
    return Conditions.model_validate(spec.model_dump(include=set(Conditions.model_fields)))


def _context(
    tenant_id: str, conversation_id: str, place: str, turns: TurnRows, parent: str | None, message: str
) -> ConversationContext:
    past = _path(turns, parent)

    def store_turn(session: Session, job_id: str) -> None:
        queries.conversation(session, tenant_id, conversation_id)  # it may have been deleted since
        ledger.add_turn(session, conversation_id, parent, job_id, message)

    history = tuple(_turn(turn, job) for turn, job in past[-MAX_HISTORY_TURNS:])
    model = past[-1][1].model if past and past[-1][1] is not None else None
    return ConversationContext(place, history, store_turn, model)


def _start_picture(session: Session, turns: TurnRows, turn_id: str | None) -> StartPicture | None:
    """What a turn starts from; None if it starts from words, or its input is no longer kept."""
    job = next((job for turn, job in turns if turn.id == turn_id), None)
    spec = None if job is None else JobSpec.read(job.spec)
    if job is None or spec is None or spec.image is None or not queries.keeps_inputs(session, job.id):
        return None
    return StartPicture(spec.image, spec.strength)


def _add_turn(
    services: Services, tenant_id: str, request: JobRequest, header: JobHeaders, context: ConversationContext
) -> str:
    job_id = _submit(services, tenant_id, request, header, context)
    with services.database.read() as session:
        return _turn_of(session, job_id).id


def _submit(
    services: Services, tenant_id: str, request: JobRequest, header: JobHeaders, context: ConversationContext
) -> str:
    key, tries = header.idempotency_key, header.x_stainless_retry_count
    return submit(services, tenant_id, request, key, tries, context).job_id


def _turn_of(session: Session, job_id: str) -> ConversationTurn:
    """The turn that a job belongs to. Raises Gone if the conversation has been deleted."""
    turn = session.scalar(select(ConversationTurn).where(ConversationTurn.job_id == job_id))
    if turn is None:
        raise Gone
    return turn


def _path(turns: TurnRows, last: str | None) -> list[tuple[ConversationTurn, Job | None]]:
    """The turns from the first to `last`, along the parents. Raises NotFound if `last` is not among `turns`."""
    by_id = {turn.id: (turn, job) for turn, job in turns}
    path: list[tuple[ConversationTurn, Job | None]] = []
    while last is not None:
        if last not in by_id:
            raise NotFound(f"There is no turn {last} in this conversation.")
        path.append(by_id[last])
        last = by_id[last][0].parent_id
    return path[::-1]


def _turn(turn: ConversationTurn, job: Job | None) -> Turn:
    """A turn as it is stored with a job, with the conditions of its images if they are known."""
    return Turn(text=turn.text, conditions=None if job is None else conditions_of(job))
