"""Images, in the requested format."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any, Final, Literal

from apiflask import APIBlueprint
from flask import Response, make_response, redirect, request
from pydantic import BaseModel, ConfigDict, Field

from limner_shared.db import ledger, queries
from limner_shared.db.signed_links import ANSWER_SECONDS, FOLDER, MAX_SECONDS
from limner_shared.db.tables import Image
from limner_shared.db.views import as_datetime
from limner_shared.domain.picture_urls import MAX_SIDE
from limner_shared.domain.request_limits import refuse
from limner_shared.domain.views import ImageLink
from limner_web.auth import tenant_id
from limner_web.pictures.bucket_redirects import Target
from limner_web.pictures.picture_formats import MEDIA_TYPES, Format, accepted_format
from limner_web.pictures.renditions import Rendition
from limner_web.services import get_services, public_origin

bp = APIBlueprint("images", __name__, url_prefix="/api/v1/images", tag="Images")
SIZE: Final = "^[1-9][0-9]{0,3}x[1-9][0-9]{0,3}$"
links = APIBlueprint("links", __name__, url_prefix=FOLDER, tag="Images")
IMAGE_RESPONSES: Final[dict[int, Any]] = {
    200: {"description": "The image", "content": {kind: {} for kind in MEDIA_TYPES.values()}},
    206: {"description": "A part of the image", "content": {kind: {} for kind in MEDIA_TYPES.values()}},
    304: {"description": "The image is unchanged"},
    307: {"description": "The image is at the address in `Location`, for a short time (LIMNER_DELIVERY_SECONDS)"},
    406: {"description": "The `Accept` header names none of the formats"},
    416: {"description": "The image does not have the part that `Range` names"},
}


class ImageQuery(BaseModel):
    """The format and size of the image, and whether a browser saves it."""

    model_config = ConfigDict(extra="forbid")
    format: Format | None = Field(
        default=None, description="The file format. Defaults to the best match of the `Accept` header."
    )
    width: Literal["64", "128", "256", "384", "512", "768", "1024", "1536"] | None = Field(
        default=None, description="The largest width in pixels; the image is reduced to it. Defaults to its own width."
    )
    quality: int | None = Field(
        default=None, ge=0, le=100, description="The quality of WebP or JPEG. Defaults to 92; PNG has none."
    )
    fit: str | None = Field(
        default=None,
        pattern=SIZE,
        description=f"`640x480`, say: the size to which the image is scaled, centered on white; at most {MAX_SIDE}"
        " pixels a side. Takes no `width`.",
    )
    download: bool = Field(
        default=False, description="Whether a browser saves the image as a file instead of showing it."
    )

    @property
    def letterbox(self) -> tuple[int, int] | None:
        """The size of `fit`. Raises InvalidRequest."""
        if self.fit is None:
            return None
        width, _, height = self.fit.partition("x")
        if self.width is not None or max(int(width), int(height)) > MAX_SIDE:
            raise refuse("fit", repr(self.fit), f"a size of at most {MAX_SIDE} pixels a side, without width")
        return int(width), int(height)


class LinkQuery(BaseModel):
    """How long the link works."""

    model_config = ConfigDict(extra="forbid")
    expires_in: int = Field(
        default=ANSWER_SECONDS, ge=1, le=MAX_SECONDS, description="Seconds for which the link works."
    )


@bp.get("/<id:image_id>")
@bp.input(ImageQuery, location="query", arg_name="query")
@bp.doc(responses=IMAGE_RESPONSES)
def get_image(image_id: str, query: ImageQuery) -> Response:
    """Retrieve an image.

    Returns the image as PNG, the stored format, or converted to WebP or JPEG, and reduced to a `width`. `Range`
    requests a part of it.
    """
    with get_services().database.read() as session:
        row = queries.image(session, tenant_id(), image_id)
    return _answer(tenant_id(), row, query, "private, max-age=31536000, immutable", math.inf)


@bp.get("/<id:image_id>/link")
@bp.input(LinkQuery, location="query", arg_name="query")
@bp.output(ImageLink)
def get_link(image_id: str, query: LinkQuery) -> Response:
    """Make a link to an image.

    Returns a link that works without a key until it expires or the image is deleted. It accepts `format`, `width`,
    `quality`, `fit` and `download` as `GET /images/{image_id}` does.
    """
    services = get_services()
    with services.database.read() as session:
        row = queries.image(session, tenant_id(), image_id)
    path, until = services.links.make(row.id, query.expires_in)
    base = public_origin(services)
    link = ImageLink(url=f"{base}{path}", expires_at=as_datetime(until))
    answer = make_response(link.model_dump(mode="json"))
    answer.headers["Cache-Control"] = "no-store"
    return answer


@links.get("/<token>")
@links.input(ImageQuery, location="query", arg_name="query")
@links.doc(responses=IMAGE_RESPONSES | {403: "The link is not valid", 404: "Not found", 410: "The link has expired"})
def get_linked_image(token: str, query: ImageQuery) -> Response:
    """Retrieve an image by a link.

    Needs no key: the link itself is the permission.
    """
    services = get_services()
    image_id, left = services.links.read(token)
    with services.database.read() as session:
        row, owner = queries.linked_image(session, image_id)
    return _answer(owner, row, query, f"private, max-age={int(left)}", left)


@bp.delete("/<id:image_id>")
@bp.output({}, status_code=204)
def delete_image(image_id: str) -> str:
    """Delete an image.

    Deletes one image of a job, with its receipt and tags; the job and its other images remain. The file is deleted
    within half an hour, unless other images have the same bytes.
    """
    services = get_services()
    with services.database.write() as session:
        change = ledger.delete_image(session, tenant_id(), image_id)
    services.hints.changed([change])
    return ""


def _answer(owner: str, row: Image, query: ImageQuery, caching: str, left: float) -> Response:
    services, rendition = get_services(), _rendition(row, query)
    answer = Response(mimetype=MEDIA_TYPES[rendition.kind])
    answer.set_etag(f"{row.sha256}-{rendition.name}")
    answer.headers["Cache-Control"] = caching
    answer.headers["Accept-Ranges"] = "bytes"
    answer.vary.add("Accept")
    if query.download:
        answer.headers["Content-Disposition"] = f'attachment; filename="{row.id}.{rendition.kind}"'
    answer.make_conditional(request)
    if answer.status_code == HTTPStatus.NOT_MODIFIED:
        return answer
    is_stored = rendition == Rendition(rendition.kind) and MEDIA_TYPES[rendition.kind] == row.media_type
    if not query.download and rendition.is_kept:  # the bucket would not name the file
        name, mode = None if is_stored else rendition.name, request.headers.get("Sec-Fetch-Mode")
        target = services.bucket_redirects.target(owner, request.method, mode, row.sha256, name, left)
        if target is not None:
            return _redirect(target)
    if is_stored:
        data = services.storage.call_for(owner, services.blobs.get_checked, row.sha256)
    else:
        data = services.renditions.get(owner, row.sha256, rendition)
    answer.set_data(data)
    answer.make_conditional(request, accept_ranges=True, complete_length=len(data))
    return answer


def _rendition(row: Image, query: ImageQuery) -> Rendition:
    width = None if query.width is None or int(query.width) >= row.width else int(query.width)
    kind = query.format or accepted_format()
    return Rendition(kind, width, None if kind == "png" else query.quality, query.letterbox)


def _redirect(target: Target) -> Response:
    answer = make_response(redirect(target.url, HTTPStatus.TEMPORARY_REDIRECT))
    answer.headers["Cache-Control"] = f"private, max-age={target.seconds // 2}"  # the URL works when it is used
    answer.vary.update(("Accept", "Sec-Fetch-Mode"))
    return answer
