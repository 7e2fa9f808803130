"""Favourites and tags of jobs and images."""

from __future__ import annotations

from typing import Final

from apiflask import APIBlueprint

from limner_shared.db import ledger, tags
from limner_shared.db.views import API
from limner_shared.domain.label_views import CoverView, TagList, TagView
from limner_shared.domain.labels import FAVOURITE, read_tag
from limner_web.auth import tenant_id
from limner_web.services import get_services

bp = APIBlueprint("labels", __name__, url_prefix="/api/v1")


MOST_TAGS: Final = 200


@bp.get("/tags")
@bp.output(TagList)
@bp.doc(tags=["Images"])
def list_tags() -> TagList:
    """List tags.

    Returns the tags of your jobs and images, those of the newest jobs first, each with a picture and the number of its
    pictures: the boards of the gallery. `GET /jobs?tag=…` lists what has a tag.
    """
    with get_services().database.read() as session:
        found = tags.tags(session, tenant_id(), MOST_TAGS)
    return TagList(items=[_tag_view(each) for each in found])


@bp.put("/jobs/<id:job_id>/favourite")
@bp.output({}, status_code=204)
@bp.doc(tags=["Jobs"])
def mark_job(job_id: str) -> str:
    """Mark a job as a favourite.

    Has no effect on a job that is already a favourite.
    """
    return _add(job_id, FAVOURITE)


@bp.delete("/jobs/<id:job_id>/favourite")
@bp.output({}, status_code=204)
@bp.doc(tags=["Jobs"])
def unmark_job(job_id: str) -> str:
    """Unmark a favourite job.

    Has no effect on a job that is not a favourite.
    """
    return _remove(job_id, FAVOURITE)


@bp.put("/images/<id:image_id>/favourite")
@bp.output({}, status_code=204)
@bp.doc(tags=["Images"])
def mark_image(image_id: str) -> str:
    """Mark an image as a favourite.

    Has no effect on an image that is already a favourite.
    """
    return _add(image_id, FAVOURITE)


@bp.delete("/images/<id:image_id>/favourite")
@bp.output({}, status_code=204)
@bp.doc(tags=["Images"])
def unmark_image(image_id: str) -> str:
    """Unmark a favourite image.

    Has no effect on an image that is not a favourite.
    """
    return _remove(image_id, FAVOURITE)


@bp.put("/jobs/<id:job_id>/tags/<tag>")
@bp.output({}, status_code=204)
@bp.doc(tags=["Jobs"])
def tag_job(job_id: str, tag: str) -> str:
    """Tag a job.

    A tag has 1 to 50 printable characters without a slash; a job has at most 50. Has no effect if the job has the tag.
    """
    return _add(job_id, read_tag(tag))


@bp.delete("/jobs/<id:job_id>/tags/<tag>")
@bp.output({}, status_code=204)
@bp.doc(tags=["Jobs"])
def untag_job(job_id: str, tag: str) -> str:
    """Remove a tag of a job.

    Has no effect if the job does not have the tag.
    """
    return _remove(job_id, read_tag(tag))


@bp.put("/images/<id:image_id>/tags/<tag>")
@bp.output({}, status_code=204)
@bp.doc(tags=["Images"])
def tag_image(image_id: str, tag: str) -> str:
    """Tag an image.

    A tag has 1 to 50 printable characters without a slash; an image has at most 50. Has no effect if the image has the
    tag.
    """
    return _add(image_id, read_tag(tag))


@bp.delete("/images/<id:image_id>/tags/<tag>")
@bp.output({}, status_code=204)
@bp.doc(tags=["Images"])
def untag_image(image_id: str, tag: str) -> str:
    """Remove a tag of an image.

    Has no effect if the image does not have the tag.
    """
    return _remove(image_id, read_tag(tag))


def _tag_view(tag: tags.Tag) -> TagView:
    cover = tag.cover
    shown = None if cover is None else CoverView(url=f"{API}/images/{cover.id}", width=cover.width)
    return TagView(tag=tag.name, targets=tag.targets, images=tag.images, cover=shown)


def _add(target_id: str, label: str) -> str:
    services = get_services()
    with services.database.write() as session:
        change = ledger.add_label(session, tenant_id(), target_id, label)
    services.hints.changed([] if change is None else [change])
    return ""


def _remove(target_id: str, label: str) -> str:
    services = get_services()
    with services.database.write() as session:
        change = ledger.remove_label(session, tenant_id(), target_id, label)
    services.hints.changed([] if change is None else [change])
    return ""
