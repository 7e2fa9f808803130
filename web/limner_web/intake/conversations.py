"""Conversations: messages become jobs, each with what was said before. The one way in, whatever API they came by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from limner_shared.db import ledger, queries
from limner_shared.db.tables import ConversationTurn, Job
from limner_shared.domain.conditions import Conditions, Turn
from limner_shared.domain.jobs import JobRequest, JobSpec
from limner_shared.errors import Gone, NotFound
from limner_web.intake import submission
from limner_web.intake.headers import JobHeaders
from limner_web.services import Services

REMEMBERED: Final = 20
"""So many turns before a message are given to who interprets it."""

Past = Sequence[tuple[ConversationTurn, Job | None]]


def begin(services: Services, tenant_id: str, request: JobRequest, header: JobHeaders) -> str:
    """A conversation with its first turn; returns the conversation's id.

    Raises what `intake.submit` raises.
    """

    def note(session: Session, job_id: str) -> None:
        conversation_id = ledger.open_conversation(session, tenant_id, request.description or "")
        ledger.add_turn(session, conversation_id, None, job_id, request.description or "")

    job_id = _submit(services, tenant_id, request, header, submission.ConversationContext("new conversation", (), note))
    with services.database.read() as session:
        return _turn_of(session, job_id).conversation_id


def say(
    services: Services, tenant_id: str, conversation_id: str, request: JobRequest, after: str | None, header: JobHeaders
) -> str:
    """A message after a turn, or after the newest; returns the turn's id.

    Raises NotFound for a turn of another conversation, and what `intake.submit` raises.
    """
    with services.database.read() as session:
        queries.conversation(session, tenant_id, conversation_id)
        turns = queries.turns(session, conversation_id)
    parent = after or (turns[-1][0].id if turns else None)
    # What is newest may be this very message, sent before: only what the client said tells whether it comes again.
    place = f"{conversation_id} after {after or 'the newest'}"
    within = _within(tenant_id, conversation_id, place, turns, parent, request.description or "")
    return _add(services, tenant_id, request, header, within)


def edit(
    services: Services, tenant_id: str, conversation_id: str, request: JobRequest, turn_id: str, header: JobHeaders
) -> str:
    """Another message in the place of an earlier one, beside which it stands; returns the new turn's id."""
    with services.database.read() as session:
        queries.conversation(session, tenant_id, conversation_id)
        turns = queries.turns(session, conversation_id)
    edited = next((turn for turn, _ in turns if turn.id == turn_id), None)
    if edited is None:
        raise NotFound(f"There is no turn {turn_id} in this conversation.")
    place = f"{conversation_id} instead of {turn_id}"
    within = _within(tenant_id, conversation_id, place, turns, edited.parent_id, request.description or "")
    return _add(services, tenant_id, request, header, within)


def _within(
    tenant_id: str, conversation_id: str, place: str, turns: Past, parent: str | None, message: str
) -> submission.ConversationContext:
    past = _path(turns, parent)

    def note(session: Session, job_id: str) -> None:
        queries.conversation(session, tenant_id, conversation_id)  # it may have been deleted since
        ledger.add_turn(session, conversation_id, parent, job_id, message)

    history = tuple(_turn(turn, job) for turn, job in past[-REMEMBERED:])
    model = past[-1][1].model if past and past[-1][1] is not None else None
    return submission.ConversationContext(place, history, note, model)


def _add(
    services: Services, tenant_id: str, request: JobRequest, header: JobHeaders, within: submission.ConversationContext
) -> str:
    job_id = _submit(services, tenant_id, request, header, within)
    with services.database.read() as session:
        return _turn_of(session, job_id).id


def _submit(
    services: Services, tenant_id: str, request: JobRequest, header: JobHeaders, within: submission.ConversationContext
) -> str:
    key, retries = header.idempotency_key, header.x_stainless_retry_count
    return submission.submit(services, tenant_id, request, key, retries, within)


def _turn_of(session: Session, job_id: str) -> ConversationTurn:
    """The turn of a job that was made for one. Raises Gone if its conversation was deleted since."""
    turn = session.scalar(select(ConversationTurn).where(ConversationTurn.job_id == job_id))
    if turn is None:
        raise Gone
    return turn


def _path(turns: Past, last: str | None) -> list[tuple[ConversationTurn, Job | None]]:
    """From the first turn to `last`, along the parents. Raises NotFound."""
    by_id = {turn.id: (turn, job) for turn, job in turns}
    path: list[tuple[ConversationTurn, Job | None]] = []
    while last is not None:
        if last not in by_id:
            raise NotFound(f"There is no turn {last} in this conversation.")
        path.append(by_id[last])
        last = by_id[last][0].parent_id
    return path[::-1]


def _turn(turn: ConversationTurn, job: Job | None) -> Turn:
    """With the conditions that its pictures were really made with; none while nobody has interpreted it."""
    return Turn(text=turn.text, conditions=None if job is None else conditions_of(job))


def conditions_of(job: Job) -> Conditions | None:
    """What a job's pictures are really made with; None while nobody has interpreted its description."""
    spec = JobSpec.read(job.spec)
    # The prompt is empty once retention has deleted it.
    if job.interpretation is None or spec is None or not spec.prompt:
        return None
    return Conditions.model_validate(spec.model_dump(include=set(Conditions.model_fields)))
