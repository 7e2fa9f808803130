"""Images, in the requested format."""

from __future__ import annotations

from http import HTTPStatus
from typing import Literal

from apiflask import APIBlueprint
from flask import Response, request
from pydantic import BaseModel, ConfigDict, Field

from limner_shared.db import queries
from limner_shared.errors import NotAcceptable
from limner_web.auth import tenant_id
from limner_web.picture_formats import MEDIA_TYPES, convert
from limner_web.services import get_services

bp = APIBlueprint("images", __name__, url_prefix="/api/v1/images", tag="Images")


class ImageQuery(BaseModel):
    """The format of the image, and whether a browser saves it."""

    model_config = ConfigDict(extra="forbid")
    format: Literal["png", "webp", "jpeg"] | None = Field(
        default=None, description="The file format. Defaults to the best match of the `Accept` header."
    )
    download: bool = Field(
        default=False, description="Whether a browser saves the image as a file instead of showing it."
    )


@bp.get("/<id:image_id>")
@bp.input(ImageQuery, location="query", arg_name="query")
@bp.doc(
    responses={
        200: {"description": "The image", "content": {kind: {} for kind in MEDIA_TYPES.values()}},
        304: {"description": "The image is unchanged"},
        406: {"description": "The `Accept` header names none of the formats"},
    }
)
def get_image(image_id: str, query: ImageQuery) -> Response:
    """Retrieve an image.

    Returns the image as PNG, the stored format, or converted to WebP or JPEG.
    """
    services = get_services()
    with services.database.read() as session:
        row = queries.image(session, tenant_id(), image_id)
    kind = query.format or _accepted()
    answer = Response(mimetype=MEDIA_TYPES[kind])
    answer.set_etag(f"{row.sha256}-{kind}")
    answer.headers["Cache-Control"] = "private, max-age=31536000, immutable"
    answer.vary.add("Accept")
    if query.download:
        answer.headers["Content-Disposition"] = f'attachment; filename="{image_id}.{kind}"'
    answer.make_conditional(request)
    if answer.status_code != HTTPStatus.NOT_MODIFIED:
        stored = services.storage.call(services.blobs.get, row.sha256)
        as_stored = MEDIA_TYPES[kind] == row.media_type
        answer.set_data(stored if as_stored else services.pillow.call(convert, stored, kind))
    return answer


def _accepted() -> str:
    if not request.accept_mimetypes:
        return "png"
    best = request.accept_mimetypes.best_match(list(MEDIA_TYPES.values()))
    if best is None:
        raise NotAcceptable(f"Accept one of {', '.join(MEDIA_TYPES.values())}.")
    return next(kind for kind, media_type in MEDIA_TYPES.items() if media_type == best)
