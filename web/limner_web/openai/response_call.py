"""Reads a call of the Responses API: its order, the conversation that it continues, and the job that it asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.orm import Session

from limner_shared.db import queries
from limner_shared.db.tables import Job
from limner_shared.domain.conditions import MAX_DESCRIPTION, Turn
from limner_shared.domain.jobs import JobRequest, JobSpec
from limner_shared.domain.request_limits import refuse
from limner_shared.domain.responses import MARK, job_id_of
from limner_web.intake import conversations
from limner_web.limits import MAX_HISTORY_TURNS
from limner_web.openai.response_answer import Mark, job_id_of_call
from limner_web.openai.response_items import stored_items
from limner_web.openai.response_request import (
    EarlierCall,
    Message,
    ResponseBody,
    ResponseOrder,
    read_response,
)
from limner_web.services import Services

PREVIOUS: Final = "previous_response_id"


@dataclass(frozen=True, slots=True)
class ResponseCall:
    """A call, read."""

    order: ResponseOrder
    mark: Mark
    request: JobRequest
    """The job request, with the mark in its metadata if the response is stored."""
    turns: tuple[Turn, ...]
    """The earlier turns, the oldest first."""
    items: list[dict[str, Any]] | None
    """The input items to store with its job; None if the response is not stored."""


def read_call(services: Services, tenant_id: str, body: ResponseBody) -> ResponseCall:
    """Read a call. Raises InvalidRequest, which names the parameter, or ModelNotFound."""
    with services.database.read() as session:
        chain = earlier_jobs(session, tenant_id, body.previous_response_id)
    if body.previous_response_id is not None and not chain:
        raise refuse(PREVIOUS, repr(body.previous_response_id[:60]), "the id of a stored response")
    items = stored_items(body) if body.store else None
    order = read_response(services, tenant_id, body, chain[-1].model if chain else None)
    mark, request = Mark.of(order), order.images.request
    if body.store:
        metadata = request.metadata | {MARK: mark.model_dump(mode="json")}
        request = request.model_copy(update={"metadata": metadata})
    with services.database.read() as session:
        turns = [_turn(job) for job in chain] + _earlier_turns(session, tenant_id, order.earlier)
    return ResponseCall(order, mark, request, tuple(turns[-MAX_HISTORY_TURNS:]), items)


def earlier_jobs(session: Session, tenant_id: str, previous: str | None) -> list[Job]:
    """The jobs of the earlier responses, the oldest first. One that was deleted ends the chain."""
    jobs: list[Job] = []
    while previous is not None and len(jobs) < MAX_HISTORY_TURNS:
        [job] = queries.jobs_of(session, tenant_id, [job_id_of(previous)]) or [None]
        mark = None if job is None else Mark.read(job.extra)
        if job is None or mark is None:
            break
        jobs.append(job)
        previous = mark.previous
    return jobs[::-1]


def _turn(job: Job) -> Turn:
    spec = JobSpec.read(job.spec)
    text = "" if spec is None else spec.description or spec.prompt
    return Turn(text=text[:MAX_DESCRIPTION], conditions=conversations.conditions_of(job))


def _earlier_turns(session: Session, tenant_id: str, earlier: Sequence[Message | EarlierCall]) -> list[Turn]:
    """The newest of the user's messages as turns, with the conditions of the picture that the last output after each
    names.
    """
    said: list[tuple[str, str]] = []  # the text, and the id of the output's job
    for item in earlier:
        if isinstance(item, EarlierCall):
            job_id = job_id_of_call(item.id)
            said[-1:] = [(text, job_id or before) for text, before in said[-1:]]
        elif item.role == "user" and item.text.strip():
            said.append((item.text[:MAX_DESCRIPTION], ""))
    newest = said[-MAX_HISTORY_TURNS:]
    jobs = {job.id: job for job in queries.jobs_of(session, tenant_id, [job_id for _, job_id in newest])}
    turns = ((Turn(text=text), jobs.get(job_id)) for text, job_id in newest)
    return [
        turn if job is None else turn.model_copy(update={"conditions": conversations.conditions_of(job)})
        for turn, job in turns
    ]
