"""The route of Hugging Face's inference calls: the body names a picture, and the answer is its file."""

from __future__ import annotations

from typing import Final

from apiflask import APIBlueprint
from flask import Response, request

from limner_shared.domain.views import ImageView, JobView
from limner_shared.errors import InvalidRequest, NotFound
from limner_web import synchronous_jobs
from limner_web.auth import tenant_id
from limner_web.http.problems import renamed
from limner_web.http.throttling import release_request_slot
from limner_web.http.warning_header import with_warning
from limner_web.hugging_face.picture_call import PictureCall, read_order
from limner_web.intake import submission
from limner_web.intake.headers import JobHeaders
from limner_web.pictures.picture_formats import MEDIA_TYPES, accepted_format
from limner_web.pictures.renditions import Rendition
from limner_web.services import Services, get_services

bp = APIBlueprint("hugging_face", __name__, url_prefix="/hf", enable_openapi=False)

JOB_HEADER: Final = "X-Limner-Job"
SEED_HEADER: Final = "X-Limner-Seed"
"""What the file itself cannot say to the client."""


@bp.post("/models/<path:model>")
def create_picture(model: str) -> Response:
    """Make a picture of a text, or of a picture and a prompt, and answer with its file.

    A client that hangs up does not cancel the job, unless it has asked for that.
    """
    services, kind, caller = get_services(), accepted_format(), synchronous_jobs.WaitingClient.of_request()
    card, warning = services.model_names.resolve(model)
    fits = services.model_names.fits_sizes(built_in=services.model_names.is_foreign(model))
    order = read_order(services, tenant_id(), PictureCall.model_validate(request.get_json()), card, fits=fits)
    header = JobHeaders.read(request.headers)
    try:
        job_id = submission.submit(services, tenant_id(), order.request, header).job_id
    except InvalidRequest as error:
        raise renamed(services.model_names.with_able_models(error), order.names) from error
    release_request_slot(services.limiter)
    *_, job = synchronous_jobs.follow(services, tenant_id(), job_id, caller)
    answer = _file(services, synchronous_jobs.require_success(job), Rendition(kind, letterbox=order.fit))
    for told in (warning, *order.warnings):
        with_warning(answer, told)
    return answer


def _file(services: Services, job: JobView, form: Rendition) -> Response:
    if not job.images:
        raise NotFound("The picture was deleted.")
    [image] = job.images
    answer = Response(_bytes(services, image, form), mimetype=MEDIA_TYPES[form.kind])
    answer.headers |= {JOB_HEADER: job.id, SEED_HEADER: str(image.seed), "Cache-Control": "no-store"}
    return answer


def _bytes(services: Services, image: ImageView, form: Rendition) -> bytes:
    if form.letterbox is None and MEDIA_TYPES[form.kind] == image.media_type:
        return synchronous_jobs.stored_picture(services, tenant_id(), image)
    return services.renditions.get(tenant_id(), image.sha256, form)
