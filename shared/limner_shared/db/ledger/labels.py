"""Favourites and tags of jobs and images."""

from __future__ import annotations

from typing import Final

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from limner_shared.db import queries
from limner_shared.db.engine import insert_new
from limner_shared.db.ledger.transitions import increase_version, lock_job
from limner_shared.db.ledger.types import Change
from limner_shared.db.library_tables import Label
from limner_shared.db.many_rows import NO_SYNC
from limner_shared.db.tables import Job
from limner_shared.domain.labels import FAVOURITE, MAX_TAGS
from limner_shared.errors import InvalidRequest

KEY: Final = ("tenant_id", "label", "job_id", "image_id")


def add_label(session: Session, tenant_id: str, target_id: str, label: str) -> Change | None:
    """Give a job or an image a label; None if it has it already.

    Raises NotFound, or InvalidRequest beyond MAX_TAGS tags.
    """
    row, image_id = _target(session, tenant_id, target_id)
    mine = (Label.job_id == row.id) & (Label.image_id == image_id)
    tags = session.scalar(select(func.count()).select_from(Label).where(mine, Label.label != FAVOURITE)) or 0
    values = {"tenant_id": tenant_id, "label": label, "job_id": row.id, "image_id": image_id}
    added = session.scalar(insert_new(session, Label, *KEY).values(values).returning(Label.job_id))
    if added is None:
        return None
    if label != FAVOURITE and tags >= MAX_TAGS:
        raise InvalidRequest(f"At most {MAX_TAGS} tags are allowed: remove one first.", field="tag")
    return increase_version(session, row)


def remove_label(session: Session, tenant_id: str, target_id: str, label: str) -> Change | None:
    """Take a label from a job or an image; None if it does not have it. Raises NotFound."""
    row, image_id = _target(session, tenant_id, target_id)
    this = (Label.tenant_id == tenant_id) & (Label.label == label)
    this &= (Label.job_id == row.id) & (Label.image_id == image_id)
    removed = session.scalar(delete(Label).where(this).returning(Label.job_id), execution_options=NO_SYNC)
    return None if removed is None else increase_version(session, row)


def _target(session: Session, tenant_id: str, target_id: str) -> tuple[Job, str]:
    """Lock the job with this id, or that of the image with this id; returns it and the image's id, empty for a job."""
    if not target_id.startswith("img_"):
        return lock_job(session, tenant_id, target_id), ""
    row = lock_job(session, tenant_id, queries.image(session, tenant_id, target_id).job_id)
    return row, queries.image(session, tenant_id, target_id).id  # it may have been deleted before the lock
