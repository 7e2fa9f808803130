"""The pictures of a job beside its results: previews while it runs, and what it was given."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import Response
from pydantic import BaseModel, ConfigDict, Field

from limner_shared.db import queries
from limner_shared.errors import NotFound
from limner_web.auth import tenant_id
from limner_web.services import get_services

bp = APIBlueprint("job_pictures", __name__, url_prefix="/api/v1/jobs", tag="Jobs")


class InputQuery(BaseModel):
    """Which of a job's input pictures."""

    model_config = ConfigDict(extra="forbid")
    field: str = Field(
        default="image",
        pattern=r"^(image|mask|control_image|reference_images\[[0-9]\])$",
        description="The field of the request that gave the picture, such as `reference_images[0]`.",
    )


@bp.get("/<id:job_id>/preview")
@bp.doc(
    responses={
        200: {"description": "A rough preview", "content": {"image/webp": {}}},
        204: {"description": "There is no preview yet"},
    }
)
def get_preview(job_id: str) -> Response:
    """Retrieve a preview.

    Returns a rough preview of a running job's first image. Workers make previews only while clients request them, about
    once a second.
    """
    services = get_services()
    with services.database.read() as session:
        queries.job(session, tenant_id(), job_id)
    preview = services.hints.request_preview(job_id)
    answer = Response(preview, mimetype="image/webp") if preview else Response(status=204)
    answer.headers["Cache-Control"] = "no-store"
    return answer


@bp.get("/<id:job_id>/input")
@bp.input(InputQuery, location="query", arg_name="query")
@bp.doc(responses={200: {"description": "The picture that the job was given", "content": {"image/png": {}}}})
def get_input(job_id: str, query: InputQuery) -> Response:
    """Retrieve the input of a job.

    Returns a picture that the job was given, as it was stored: in the job's size. It is deleted with the job, with
    the job's images by retention, and with the job's conversation.
    """
    services = get_services()
    with services.database.read() as session:
        digest = queries.kept_inputs(session, tenant_id(), job_id).get(query.field)
    if digest is None:
        raise NotFound(f"The job {job_id} has no such input.")
    data = services.storage.call_for(tenant_id(), services.blobs.get_input, digest)
    answer = Response(data, mimetype="image/png")
    answer.headers["Cache-Control"] = "private, max-age=3600"
    return answer
