"""The tags of a tenant, each with its newest picture."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from limner_shared.db import queries
from limner_shared.db.library_tables import Label
from limner_shared.db.tables import Image
from limner_shared.domain.labels import FAVOURITE


class Tag(NamedTuple):
    """A tag, how many jobs and images have it, and the newest of their images, if any is left."""

    name: str
    targets: int
    cover: Image | None


def tags(session: Session, tenant_id: str, limit: int) -> list[Tag]:
    """A tenant's tags, those of the newest jobs first. The key of the labels serves it."""
    newest = func.max(Label.job_id)
    mine = (Label.tenant_id == tenant_id) & (Label.label != FAVOURITE)
    query = select(Label.label, func.count(), newest).where(mine).group_by(Label.label)
    rows = session.execute(query.order_by(newest.desc(), Label.label).limit(limit))
    found: list[tuple[str, int, str]] = [(row[0], row[1], row[2]) for row in rows]
    jobs = {job for _, _, job in found}
    images = queries.images(session, sorted(jobs))
    marked = select(Label.label, Label.image_id).where(mine, Label.job_id.in_(jobs), Label.image_id != "")
    own = {(row.label, row.image_id) for row in session.execute(marked)}
    covers = {
        name: next((each for each in images[job] if (name, each.id) in own), next(iter(images[job]), None))
        for name, _, job in found
    }
    return [Tag(name, targets, covers[name]) for name, targets, _ in found]
