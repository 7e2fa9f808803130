"""The tags of a tenant, each with its newest picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Subquery, case, func, select
from sqlalchemy.orm import Session, aliased

from limner_shared.db import queries
from limner_shared.db.library_tables import Label
from limner_shared.db.tables import Image
from limner_shared.domain.labels import FAVOURITE

COUNTED_MARKS: Final = 1000
"""The newest marks of one tag whose pictures are counted. A mark is a tag of a job or of an image."""


class Tag(NamedTuple):
    """A tag, how many jobs and images have it, how many pictures these are, and the newest of them, if any is left."""

    name: str
    targets: int
    images: int
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
    numbers = _pictures(session, tenant_id, [(name, targets) for name, targets, _ in found])
    return [Tag(name, targets, numbers.get(name, 0), covers[name]) for name, targets, _ in found]


def _pictures(session: Session, tenant_id: str, targets: Sequence[tuple[str, int]]) -> dict[str, int]:
    """The number of pictures of each tag, of its newest COUNTED_MARKS marks: all tags with few marks at once."""
    few = [name for name, marks in targets if marks <= COUNTED_MARKS]
    numbers = _count(session, (Label.tenant_id == tenant_id) & Label.label.in_(few)) if few else {}
    for name, marks in targets:
        if marks > COUNTED_MARKS:
            numbers |= _count(session, (Label.tenant_id == tenant_id) & (Label.label == name), COUNTED_MARKS)
    return numbers


def _count(session: Session, which: ColumnElement[bool], limit: int | None = None) -> dict[str, int]:
    some = select(Label.tenant_id, Label.label, Label.job_id, Label.image_id).where(which)
    if limit is not None:
        some = some.order_by(Label.job_id.desc(), Label.image_id).limit(limit)
    marks = some.subquery()
    query = select(marks.c.label, func.sum(_pictures_of(marks))).group_by(marks.c.label)
    return {row[0]: int(row[1]) for row in session.execute(query)}


def _pictures_of(marks: Subquery) -> ColumnElement[int]:
    """The pictures that a mark adds: all of a job; one for a picture's own, unless its job has the tag too.

    One probe of an index each.
    """
    of_job = select(func.count()).select_from(Image).where(Image.job_id == marks.c.job_id).scalar_subquery()
    job_mark = aliased(Label)
    same = (job_mark.tenant_id == marks.c.tenant_id) & (job_mark.label == marks.c.label)
    same &= (job_mark.job_id == marks.c.job_id) & (job_mark.image_id == "")
    has_job_mark = select(func.count()).select_from(job_mark).where(same).scalar_subquery()
    return case((marks.c.image_id == "", of_job), else_=1 - has_job_mark)
