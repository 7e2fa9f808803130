"""Responses: pictures by OpenAI's image_generation tool. A response is a job, and the mark in its metadata."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import Any, Final, Literal

from apiflask import APIBlueprint
from flask import Response, jsonify, request
from pydantic import Field
from sqlalchemy.orm import Session

from limner_shared.db import ledger, queries, response_inputs
from limner_shared.domain.jobs import JobState
from limner_shared.domain.request_limits import refuse
from limner_shared.domain.responses import job_id_of
from limner_shared.domain.views import JobView
from limner_shared.errors import InvalidRequest, NotFound
from limner_web import synchronous_jobs
from limner_web.auth import tenant_id
from limner_web.http.throttling import release_request_slot
from limner_web.http.warning_header import with_warning
from limner_web.intake.cancellation import cancel_job
from limner_web.openai import image_answer, response_answer, response_events
from limner_web.openai.calls import event_stream, submit
from limner_web.openai.response_answer import Mark
from limner_web.openai.response_call import ResponseCall, earlier_jobs, read_call
from limner_web.openai.response_items import IncludeQuery, ItemsQuery, input_items, page
from limner_web.openai.response_request import in_response_terms, read_body
from limner_web.services import Services, get_services
from limner_web.serving.connection import hang_up_check
from limner_web.view_builders import read_job_view

bp = APIBlueprint("openai_responses", __name__, url_prefix="/v1/responses", enable_openapi=False)

HASHED_ON_THREAD_BYTES: Final = 64_000


class RetrieveQuery(IncludeQuery):
    """How a response is retrieved: as it is now, or as a stream. Nothing that `include` may name is in an output."""

    stream: bool = False
    starting_after: int | None = Field(default=None, ge=0)
    include_obfuscation: Literal["false", "False"] | None = None


@bp.post("")
def create_response() -> Response:
    """Make the pictures that the last message asks for, taking the earlier ones into account.

    A client that hangs up does not cancel the job, unless it has asked for that.
    """
    services = get_services()
    body, caller = read_body(request.get_json()), synchronous_jobs.WaitingClient.of_request()
    call = read_call(services, tenant_id(), body)
    mark, warning = call.mark, call.order.warning
    job_id = _submit(services, call)
    if body.background and not body.stream:
        return with_warning(jsonify(_object(services, read_job_view(services, tenant_id(), job_id), mark)), warning)
    release_request_slot(services.limiter)
    if body.stream:
        return with_warning(_streamed(services, mark, job_id, caller), warning)
    *_, job = synchronous_jobs.follow(services, tenant_id(), job_id, caller)
    return with_warning(jsonify(_object(services, synchronous_jobs.require_success(job), mark)), warning)


@bp.get("/<id:response_id>")
def get_response(response_id: str) -> Response:
    """Retrieve a response as it is now, or stream the events that follow the last one that a client has got."""
    query, services = RetrieveQuery.read(request.args), get_services()
    if query.starting_after is not None and not query.stream:
        raise refuse("starting_after", "starting_after without a stream", "with stream=true")
    job, mark = _stored(services, response_id)
    if not query.stream:
        return jsonify(_object(services, job, mark))
    release_request_slot(services.limiter)
    after = -1 if query.starting_after is None else query.starting_after
    return _streamed(services, mark, job.id, synchronous_jobs.WaitingClient(hang_up_check()), after)


@bp.get("/<id:response_id>/input_items")
def list_input_items(response_id: str) -> Response:
    """List the items that a response was created from, with those of the responses that it continues."""
    query = ItemsQuery.read(request.args)
    services = get_services()
    job, mark = _stored(services, response_id)
    with services.database.read() as session:
        row = queries.job(session, tenant_id(), job.id)
        items = input_items(session, row, earlier_jobs(session, tenant_id(), mark.previous))
    return jsonify(page(services, items, query))


@bp.delete("/<id:response_id>")
def delete_response(response_id: str) -> Response:
    """Delete a response that has ended: its job and pictures."""
    services = get_services()
    job, _ = _stored(services, response_id)
    with services.database.write() as session:
        change = ledger.delete_job(session, tenant_id(), job.id)
    services.hints.deleted(change)
    return jsonify({"id": response_id, "object": "response", "deleted": True})


@bp.post("/<id:response_id>/cancel")
def cancel_response(response_id: str) -> Response:
    """Cancel a response that runs in the background; one that has ended is returned as it is."""
    services = get_services()
    job, mark = _stored(services, response_id)
    if not mark.background:
        raise InvalidRequest("Only a response that was created with background: true can be canceled.", field="id")
    cancel_job(services, tenant_id(), job.id)
    return jsonify(_object(services, read_job_view(services, tenant_id(), job.id), mark))


def _streamed(
    services: Services, mark: Mark, job_id: str, caller: synchronous_jobs.WaitingClient, after: int = -1
) -> Response:
    interval = image_answer.preview_interval(mark.output)
    views = synchronous_jobs.follow(services, tenant_id(), job_id, caller, interval)
    return event_stream(response_events.events(services, tenant_id(), mark, views, after))


def _submit(services: Services, call: ResponseCall) -> str:
    """Queue the job of a response and return its id; a repeated call gets the job of its first try."""

    def store(session: Session, job_id: str) -> None:
        if call.items is not None:
            response_inputs.add_inputs(session, {job_id: call.items})

    data = request.get_data()
    digest = services.storage.call(_sha256, data) if len(data) > HASHED_ON_THREAD_BYTES else _sha256(data)
    try:
        return submit(services, call.request, f"response {digest}", call.turns, store)
    except InvalidRequest as error:
        raise in_response_terms(services, error, call.order.body) from error


def _object(services: Services, job: JobView, mark: Mark) -> dict[str, Any]:
    if job.status is not JobState.SUCCEEDED:
        return response_answer.response(mark, job)
    finished = image_answer.read_finished(services, tenant_id(), job)
    return response_answer.finished_response(
        services, mark, finished, partial(image_answer.encoded, services, tenant_id())
    )


def _stored(services: Services, response_id: str) -> tuple[JobView, Mark]:
    """The job of a response, and its mark. Raises NotFound."""
    told = "it may have been deleted, or created with store: false."
    missing = NotFound(f"There is no response {response_id[:60]}; {told}")
    try:
        job = read_job_view(services, tenant_id(), job_id_of(response_id))
    except NotFound as error:
        raise missing from error
    mark = Mark.read(job.metadata)
    if mark is None:
        raise missing
    return job, mark


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
