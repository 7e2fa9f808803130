"""Images in OpenAI's form: generations, edits and variations."""

from __future__ import annotations

from functools import partial
from typing import Any

from apiflask import APIBlueprint
from flask import Response, jsonify, request

from limner_shared.errors import InvalidRequest
from limner_web import synchronous_jobs
from limner_web.auth import tenant_id
from limner_web.http.throttling import release_request_slot
from limner_web.http.warning_header import with_warning
from limner_web.openai import image_answer
from limner_web.openai.calls import event_stream, submit
from limner_web.openai.image_answer import Call
from limner_web.openai.image_edits import read_edit, read_variation
from limner_web.openai.image_inputs import read_form
from limner_web.openai.image_order import ImageOrder, in_openai_terms, read_order
from limner_web.services import Services, get_services, public_origin

bp = APIBlueprint("openai_images", __name__, url_prefix="/v1/images", enable_openapi=False)


@bp.post("/generations")
def create_images() -> Response:
    """Make images from a prompt."""
    services = get_services()
    return _make(services, read_order(request.get_json(), services.model_names), "image_generation")


@bp.post("/edits")
def edit_image() -> Response:
    """Change an image, everywhere or where a mask is transparent."""
    services = get_services()
    return _make(services, read_edit(services, tenant_id(), _fields()), "image_edit")


@bp.post("/variations")
def vary_image() -> Response:
    """Make variations of an image, along its own prompt if this service has made it, or along a given one."""
    services = get_services()
    return _make(services, read_variation(services, tenant_id(), _fields()), "image_edit")


def _fields() -> dict[str, Any]:
    return read_form() if request.mimetype == "multipart/form-data" else request.get_json()


def _make(services: Services, order: ImageOrder, call: Call) -> Response:
    """Submit the job of a call, and answer once it has ended, or stream its events.

    A client that hangs up does not cancel the job, unless it has asked for that.
    """
    caller = synchronous_jobs.WaitingClient.of_request()
    try:
        job_id = submit(services, order.request, order.digest_prefix)
    except InvalidRequest as error:
        raise in_openai_terms(error, services.model_names) from error
    release_request_slot(services.limiter)
    tenant, output = tenant_id(), order.output
    views = synchronous_jobs.follow(services, tenant, job_id, caller, image_answer.preview_interval(output))
    if output.stream:
        events = image_answer.events(services, tenant, order, views, call)
        return with_warning(event_stream(events), output.warning)
    *_, job = views
    finished = image_answer.read_finished(services, tenant, job)
    origin = public_origin(services)
    encode = partial(image_answer.encoded, services, tenant)
    body = image_answer.answer(output, order.card, finished, partial(image_answer.link, services, origin), encode)
    return with_warning(jsonify(body), output.warning)
