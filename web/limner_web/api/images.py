"""Pictures, in the format that is asked for."""

from __future__ import annotations

import io
from http import HTTPStatus
from typing import Literal

from apiflask import APIBlueprint
from flask import Response, request
from PIL import Image as Pillow
from pydantic import BaseModel, ConfigDict, Field

from limner_shared.db import queries
from limner_shared.errors import NotAcceptable
from limner_web.auth import tenant_id
from limner_web.services import get_services

MEDIA_TYPES = {"png": "image/png", "webp": "image/webp", "jpeg": "image/jpeg"}

bp = APIBlueprint("images", __name__, url_prefix="/api/v1/images", tag="Images")


class ImageQuery(BaseModel):
    """In which format, and whether to be saved or shown."""

    model_config = ConfigDict(extra="forbid")
    format: Literal["png", "webp", "jpeg"] | None = Field(default=None, description="Left out: by the Accept header.")
    download: bool = Field(default=False, description="Ask the browser to save it as a file.")


@bp.get("/<id:image_id>")
@bp.input(ImageQuery, location="query", arg_name="query")
@bp.doc(
    responses={
        200: {"description": "The picture.", "content": {kind: {} for kind in MEDIA_TYPES.values()}},
        304: {"description": "Unchanged"},
        406: {"description": "The Accept header names none of these"},
    }
)
def get_image(image_id: str, query: ImageQuery) -> Response:
    """Fetch a picture as PNG (as stored), WebP or JPEG."""
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
        answer.set_data(stored if as_stored else services.pillow.call(_convert, stored, kind))
    return answer


def _accepted() -> str:
    if not request.accept_mimetypes:
        return "png"
    best = request.accept_mimetypes.best_match(list(MEDIA_TYPES.values()))
    if best is None:
        raise NotAcceptable(f"Pictures come as {', '.join(MEDIA_TYPES.values())}.")
    return next(kind for kind, media_type in MEDIA_TYPES.items() if media_type == best)


def _convert(stored: bytes, kind: str) -> bytes:
    buffer = io.BytesIO()
    with Pillow.open(io.BytesIO(stored), formats=["PNG"]) as picture:
        xmp = picture.info.get("XML:com.adobe.xmp")  # what the file says of its making goes along
        more = {"xmp": xmp.encode()} if isinstance(xmp, str) else {}
        picture.convert("RGB").save(buffer, kind.upper(), quality=92, **more)
    return buffer.getvalue()
