"""Conversations: each message becomes a job that carries the earlier turns, or, if it is small talk, is answered in
words. Every API adds messages through here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from limner_shared.db import ledger, queries
from limner_shared.db.tables import Conversation, ConversationTurn, Job
from limner_shared.domain.conditions import Conditions, Turn
from limner_shared.domain.jobs import JobRequest, JobSpec
from limner_shared.errors import Gone, NotFound
from limner_web import small_talk
from limner_web.intake.earlier_pictures import EarlierPictures
from limner_web.intake.headers import JobHeaders
from limner_web.intake.idempotency import ResourceKind, create_once, repeat_of
from limner_web.intake.submission import ConversationContext, hashed_text, submit
from limner_web.limits import MAX_HISTORY_TURNS
from limner_web.services import Services

TurnRows = Sequence[tuple[ConversationTurn, Job | None]]
FROM_WORDS: Final = ", from words"
"""Part of a message's digest."""


def create(services: Services, tenant_id: str, request: JobRequest, header: JobHeaders) -> str:
    """Create a conversation with its first turn; returns the conversation's id. Raises what `submit` raises."""

    def store_turn(session: Session, job_id: str) -> str:
        conversation_id = ledger.open_conversation(session, tenant_id, request.description or "")
        return ledger.add_turn(session, conversation_id, None, job_id, request.description or "")

    turn_id = _add_turn(services, tenant_id, request, header, ConversationContext("new conversation", (), store_turn))
    with services.database.read() as session:
        return _found(session, tenant_id, turn_id).conversation_id


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

    Without an image of its own it starts from the earlier turn's, unless `from_words`; likewise its control picture.

    Raises NotFound if `after` is not a turn of this conversation, and what `submit` raises.
    """
    with services.database.read() as session:
        queries.conversation(session, tenant_id, conversation_id)
        turns = queries.turns(session, conversation_id)
        parent = after or (turns[-1][0].id if turns else None)
        earlier = _earlier_pictures(session, turns, parent, from_words=from_words)
    # `digest_prefix` holds only what the client sent: the newest turn may be this message, from an earlier try.
    digest_prefix = f"{conversation_id} after {after or 'the newest'}{FROM_WORDS if from_words else ''}"
    context = _context(tenant_id, conversation_id, digest_prefix, turns, parent, request.description or "")
    return _add_turn(services, tenant_id, request, header, replace(context, earlier=earlier))


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

    Without an image of its own it starts from that turn's with its mask, unless `from_words`; likewise its control
    picture.

    Raises NotFound if the turn is not in this conversation, and what `submit` raises.
    """
    with services.database.read() as session:
        queries.conversation(session, tenant_id, conversation_id)
        turns = queries.turns(session, conversation_id)
        edited = next((turn for turn, _ in turns if turn.id == turn_id), None)
        if edited is None:
            raise NotFound(f"There is no turn {turn_id} in this conversation.")
        earlier = _earlier_pictures(session, turns, turn_id, from_words=from_words, with_mask=True)
    digest_prefix = f"{conversation_id} instead of {turn_id}{FROM_WORDS if from_words else ''}"
    context = _context(tenant_id, conversation_id, digest_prefix, turns, edited.parent_id, request.description or "")
    return _add_turn(services, tenant_id, request, header, replace(context, earlier=earlier))


def conditions_of(job: Job) -> Conditions | None:
    """The conditions that a job's images are made with; None until its description has been interpreted."""
    spec = JobSpec.read(job.spec)
    # The prompt is empty once retention has deleted it.
    if job.interpretation is None or spec is None or not spec.prompt:
        return None
    return Conditions.model_validate(spec.model_dump(include=set(Conditions.model_fields)))


def _context(
    tenant_id: str, conversation_id: str, digest_prefix: str, turns: TurnRows, parent: str | None, message: str
) -> ConversationContext:
    past = _path(turns, parent)

    def store_turn(session: Session, job_id: str) -> str:
        row = queries.conversation(session, tenant_id, conversation_id)  # it may have been deleted since
        if turns and all(turn.job_id == ledger.NO_JOB for turn, _ in turns) and job_id != ledger.NO_JOB:
            _retitle(session, row, turns[0][0].text, message)
        return ledger.add_turn(session, conversation_id, parent, job_id, message)

    history = tuple(_turn(turn, job) for turn, job in past[-MAX_HISTORY_TURNS:])
    model = past[-1][1].model if past and past[-1][1] is not None else None
    return ConversationContext(digest_prefix, history, store_turn, model)


def _retitle(session: Session, row: Conversation, first: str, message: str) -> None:
    """Title a conversation that began with small talk with its first description, unless it was renamed."""
    if row.title == ledger.title_of(first):
        ledger.rename_conversation(session, row.id, ledger.title_of(message))


def _earlier_pictures(
    session: Session, turns: TurnRows, turn_id: str | None, *, from_words: bool, with_mask: bool = False
) -> EarlierPictures | None:
    """The pictures that a turn was given; None if it was given none, or they are no longer kept. Raises NotFound."""
    path = _path(turns, turn_id)
    job = path[-1][1] if path else None
    spec = None if job is None else JobSpec.read(job.spec)
    if job is None or spec is None or not queries.keeps_inputs(session, job.id):
        return None
    return EarlierPictures(job.id, spec, from_words, with_mask)


def _add_turn(
    services: Services, tenant_id: str, request: JobRequest, header: JobHeaders, context: ConversationContext
) -> str:
    """Store a message with its job, or without one if it is small talk; returns the turn's id."""
    if request.image is None and small_talk.read(request.description or "") is not None:
        return _add_small_talk(services, tenant_id, request, header, context)
    job_id = submit(services, tenant_id, request, header, context).job_id
    with services.database.read() as session:
        return _turn_of(session, job_id).id


def _add_small_talk(
    services: Services, tenant_id: str, request: JobRequest, header: JobHeaders, context: ConversationContext
) -> str:
    services.catalogue.get(request.model or context.model)
    repeat = repeat_of(header, f"{context.digest_prefix} {hashed_text(request)}")
    kind = ResourceKind(lambda session: context.store_turn(session, ledger.NO_JOB) or "", str, _found)
    return create_once(services, tenant_id, repeat, kind)


def _found(session: Session, tenant_id: str, turn_id: str) -> ConversationTurn:
    """A turn that was stored. Raises Gone if its conversation has been deleted."""
    try:
        return queries.turn(session, tenant_id, turn_id)
    except NotFound as error:
        raise Gone from error


def _turn_of(session: Session, job_id: str) -> ConversationTurn:
    """The turn that a job belongs to. Raises Gone if the conversation has been deleted."""
    turn = session.scalar(select(ConversationTurn).where(ConversationTurn.job_id == job_id))
    if turn is None:
        raise Gone
    return turn


def _path(turns: TurnRows, last: str | None) -> list[tuple[ConversationTurn, Job | None]]:
    """The turns from the first to `last`, along the parents, without small talk.

    Raises NotFound if `last` is not among `turns`.
    """
    by_id = {turn.id: (turn, job) for turn, job in turns}
    path: list[tuple[ConversationTurn, Job | None]] = []
    while last is not None:
        if last not in by_id:
            raise NotFound(f"There is no turn {last} in this conversation.")
        path.append(by_id[last])
        last = by_id[last][0].parent_id
    return [pair for pair in reversed(path) if pair[0].job_id != ledger.NO_JOB]


def _turn(turn: ConversationTurn, job: Job | None) -> Turn:
    """A turn as it is stored with a job, with the conditions of its images if they are known."""
    return Turn(text=turn.text, conditions=None if job is None else conditions_of(job))
