"""Predictions and files in Replicate's form."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlencode

from apiflask import APIBlueprint
from flask import Response, jsonify, request, stream_with_context
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from limner_shared.db.search import JobFilter, find_jobs
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.ids import first_id
from limner_shared.domain.jobs import JobRequest
from limner_shared.domain.predictions import OWNER, prediction_object, version_id
from limner_shared.domain.scheduling import Moment
from limner_shared.domain.views import JobView
from limner_shared.errors import InvalidRequest, NotFound
from limner_web import fitted_sizes, synchronous_jobs
from limner_web.auth import tenant_id
from limner_web.http import strict_json
from limner_web.http.problems import renamed
from limner_web.http.throttling import release_request_slot
from limner_web.http.warning_header import with_warning
from limner_web.intake import submission, uploads
from limner_web.intake.cancellation import cancel_job
from limner_web.intake.headers import JobHeaders
from limner_web.intake.webhooks import prediction_webhook
from limner_web.long_texts import within_card
from limner_web.replicate import files, inputs, models, streaming
from limner_web.replicate.directory import one_page
from limner_web.replicate.outputs import outputs
from limner_web.request_checks import ID_PATTERN
from limner_web.services import Services, get_services, public_origin
from limner_web.serving.connection import hang_up_check
from limner_web.view_builders import job_views, read_job_view

bp = APIBlueprint("replicate", __name__, url_prefix="/replicate/v1", enable_openapi=False)

PAGE: Final = 100
OUTPUT_HEADER: Final = "X-Output-Files"


class PageQuery(BaseModel):
    """The filters of a list, and the place of a page in it."""

    model_config = ConfigDict(extra="forbid")
    cursor: str | None = Field(default=None, pattern=f"^{ID_PATTERN}$")
    created_after: Moment | None = None
    created_before: Moment | None = None

    @property
    def filter(self) -> JobFilter:
        """The filters."""
        after, before = self.created_after, self.created_before
        return JobFilter(
            from_id=None if after is None else first_id("job", after.timestamp()),
            before_id=None if before is None else first_id("job", before.timestamp()),
        )


@bp.post("/predictions")
def create_prediction() -> Response:
    """Create a prediction of a version."""
    asked = inputs.read(request.get_json())
    if asked.version is None:
        raise InvalidRequest("version: name a version or a model.", field="version")
    card = models.find_version(get_services(), asked.version)
    is_own = asked.version.startswith(f"{OWNER}/") or asked.version == version_id(card)
    return _create(asked, card, is_own=is_own)


@bp.post("/models/<owner>/<name>/predictions")
@bp.post("/deployments/<owner>/<name>/predictions", endpoint="create_deployment_prediction")
def create_model_prediction(owner: str, name: str) -> Response:
    """Create a prediction of a model or a deployment."""
    asked = inputs.read(request.get_json())
    return _create(asked, models.find(get_services(), owner, name), is_own=owner == OWNER)


@bp.get("/predictions")
def list_predictions() -> Response:
    """List the tenant's predictions, the newest first, with the URLs of their pictures."""
    services = get_services()
    page = PageQuery.model_validate(request.args.to_dict())
    with services.database.read() as session:
        page_of_jobs = find_jobs(session, tenant_id(), page.filter, PAGE, page.cursor)
        views = job_views(session, services.hints, page_of_jobs.jobs)
    found = [_object(services, view, as_data=False) for view in views]
    further = None
    if page_of_jobs.next is not None:
        query = urlencode(request.args.to_dict() | {"cursor": page_of_jobs.next})
        further = f"{public_origin(services)}/replicate/v1/predictions?{query}"
    return jsonify({"previous": None, "next": further, "results": found})


@bp.get("/predictions/<id:job_id>")
def get_prediction(job_id: str) -> Response:
    """Retrieve a prediction."""
    services = get_services()
    return jsonify(_object(services, read_job_view(services, tenant_id(), job_id)))


@bp.post("/predictions/<id:job_id>/cancel")
def cancel_prediction(job_id: str) -> Response:
    """Cancel a prediction; one that has ended is returned as it is."""
    services = get_services()
    cancel_job(services, tenant_id(), job_id)
    return jsonify(_object(services, read_job_view(services, tenant_id(), job_id)))


@bp.get("/predictions/<id:job_id>/stream")
def stream_prediction(job_id: str) -> Response:
    """Stream a prediction's logs and output."""
    services = get_services()
    read_job_view(services, tenant_id(), job_id)
    views = synchronous_jobs.follow(services, tenant_id(), job_id, synchronous_jobs.WaitingClient(hang_up_check()))
    events = streaming.events(services, tenant_id(), views, public_origin(services), as_data=_as_data(services))
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Response(stream_with_context(events), mimetype="text/event-stream", headers=headers)


@bp.post("/files")
def upload_file() -> Response:
    """Upload a file to use as an input within 24 hours."""
    services = get_services()
    uploads.require_room(services, tenant_id(), request.content_length)
    content = request.files.get("content")
    part = request.files.get("metadata")  # the client for Node sends a file, the one for Python a field
    sent = request.form.get("metadata", "") if part is None else part.read()
    metadata = strict_json.loads_field("metadata", sent or "{}")
    if content is None:
        raise InvalidRequest("content: send the file in the multipart field `content`.", field="content")
    file = files.upload(services, tenant_id(), content, metadata, JobHeaders.read(request.headers))
    answer = jsonify(files.file_object(file, public_origin(services)))
    answer.status_code = 201
    return answer


@bp.get("/files")
def list_files() -> Response:
    """List the tenant's files, the newest first."""
    services = get_services()
    found = files.newest(services, tenant_id())
    return one_page([files.file_object(file, public_origin(services)) for file in found])


@bp.get("/files/<id:file_id>")
def get_file(file_id: str) -> Response:
    """Retrieve what is known of a file."""
    services = get_services()
    return jsonify(files.file_object(files.get(services, tenant_id(), file_id), public_origin(services)))


@bp.delete("/files/<id:file_id>")
def delete_file(file_id: str) -> Response:
    """Delete a file."""
    uploads.delete_file(get_services(), tenant_id(), file_id)
    return Response(status=204)


def _create(asked: inputs.NewPrediction, card: ModelCard, *, is_own: bool) -> Response:
    """Create a prediction; `is_own` says that the client names a model of this service, not one elsewhere."""
    services = get_services()
    wait, caller = inputs.wait_seconds(request.headers.get("Prefer", "")), synchronous_jobs.WaitingClient.of_request()
    fields, form = inputs.job_fields(asked, card, fits=services.model_names.fits_sizes(built_in=not is_own))
    fields, cuts = within_card(fields, card)
    fields["expires_in"] = inputs.life_seconds(request.headers.get("Cancel-After"))
    header = JobHeaders.read(request.headers)
    webhook = prediction_webhook(services.targets, asked.webhook, asked.webhook_events_filter, public_origin(services))
    try:
        job_request = JobRequest.model_validate(files.with_pictures(services, tenant_id(), fields))
        job_id = submission.submit(
            services,
            tenant_id(),
            job_request,
            header,
            webhook=webhook,
        ).job_id
    except (InvalidRequest, ValidationError) as error:
        told = services.model_names.with_able_models(error) if isinstance(error, InvalidRequest) else error
        raise renamed(told, inputs.called(request.get_json()["input"])) from error
    answer = _created(services, job_id, wait, caller)
    for told in (*cuts, fitted_sizes.warning(form.fit)):
        with_warning(answer, told)
    return answer


def _created(services: Services, job_id: str, wait: int | None, caller: synchronous_jobs.WaitingClient) -> Response:
    """The new prediction, as it is after `wait` seconds, or earlier if it has ended."""
    if wait is None:
        answer = jsonify(_object(services, read_job_view(services, tenant_id(), job_id)))
        answer.status_code = 201
        return answer
    release_request_slot(services.limiter)
    job = synchronous_jobs.await_end(services, tenant_id(), job_id, inputs.answer_seconds(wait), caller)
    # `processing` would make the client's `run` return before there is an output.
    answer = jsonify(_object(services, job, status=None if job.status.terminal else "starting"))
    answer.status_code = 201 if job.status.terminal else 202
    return answer


def _object(
    services: Services, job: JobView, *, as_data: bool | None = None, status: str | None = None
) -> dict[str, Any]:
    origin = public_origin(services)
    as_data = _as_data(services) if as_data is None else as_data
    try:
        output = outputs(services, tenant_id(), job, origin, as_data=as_data)
    except NotFound:  # deleted meanwhile
        output = None
    return prediction_object(job, services.catalogue, origin, output, status=status)


def _as_data(services: Services) -> bool:
    """Whether pictures are sent as data URLs: as the client asks, or else where its URLs begin with `http:`.

    The client turns `https:` and `data:` into files that can be read, and leaves `http:` as plain text.
    """
    asked = request.headers.get(OUTPUT_HEADER)
    if asked is None:
        return not public_origin(services).startswith("https:")
    if not re.fullmatch("data|url", asked):
        raise InvalidRequest(f"{OUTPUT_HEADER}: use `data` or `url`.", field=OUTPUT_HEADER)
    return asked == "data"
