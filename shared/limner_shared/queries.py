"""Every question asked about jobs, bulks and images. Reads only; each is named, and limited in what it returns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from limner_shared.errors import NotFound
from limner_shared.jobs import JobState
from limner_shared.tables import Bulk, Image, Job

POSITION_LIMIT = 1000
"""Beyond this many jobs ahead, nobody needs the exact place, and counting would cost."""


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs to list; a field left None does not filter."""

    state: JobState | None = None
    model: str | None = None
    bulk_id: str | None = None


def job(session: Session, tenant_id: str, job_id: str) -> Job:
    """A tenant's job. Raises NotFound for another tenant's as for none."""
    found = session.scalar(select(Job).where(Job.id == job_id, Job.tenant_id == tenant_id))
    if found is None:
        raise NotFound(f"There is no job {job_id}.")
    return found


def jobs(session: Session, tenant_id: str, which: JobFilter, limit: int, before: str | None) -> list[Job]:
    """A page of a tenant's jobs, newest first, older than the id `before`."""
    query = select(Job).where(Job.tenant_id == tenant_id).order_by(Job.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Job.id < before)
    for column, value in ((Job.state, which.state), (Job.model, which.model), (Job.bulk_id, which.bulk_id)):
        if value is not None:
            query = query.where(column == value)
    return list(session.scalars(query))


def images(session: Session, job_ids: Sequence[str]) -> dict[str, list[Image]]:
    """The images of each job, in order."""
    found: dict[str, list[Image]] = {job_id: [] for job_id in job_ids}
    for row in session.scalars(
        select(Image).where(Image.job_id.in_(job_ids)).order_by(Image.job_id, Image.image_index)
    ):
        found[row.job_id].append(row)
    return found


def image(session: Session, tenant_id: str, image_id: str) -> Image:
    """A tenant's image. Raises NotFound."""
    query = select(Image).join(Job, Job.id == Image.job_id).where(Image.id == image_id, Job.tenant_id == tenant_id)
    found = session.scalar(query)
    if found is None:
        raise NotFound(f"There is no image {image_id}.")
    return found


def position(session: Session, row: Job) -> int:
    """How many queued jobs of the same model come before this one, at most POSITION_LIMIT."""
    ahead = (
        select(Job.id)
        .where(Job.model == row.model, Job.state == JobState.QUEUED)
        .where(tuple_(Job.priority, Job.id) < tuple_(row.priority, row.id))
        .limit(POSITION_LIMIT)
    )
    return session.scalar(select(func.count()).select_from(ahead.subquery())) or 0


def bulk(session: Session, tenant_id: str, bulk_id: str) -> Bulk:
    """A tenant's bulk. Raises NotFound."""
    found = session.scalar(select(Bulk).where(Bulk.id == bulk_id, Bulk.tenant_id == tenant_id))
    if found is None:
        raise NotFound(f"There is no bulk {bulk_id}.")
    return found


def bulk_counts(session: Session, bulk_id: str) -> dict[JobState, int]:
    """How many of a bulk's jobs stand in each state; every state is named."""
    rows = session.execute(select(Job.state, func.count()).where(Job.bulk_id == bulk_id).group_by(Job.state)).all()
    return dict.fromkeys(JobState, 0) | {JobState(state): count for state, count in rows}


def bulk_jobs(session: Session, bulk_id: str, page: int = 500) -> Iterator[tuple[Job, list[Image]]]:
    """Every job of a bulk in the order of its lines, with its images, a page in memory at a time."""
    line = 0
    while True:
        query = select(Job).where(Job.bulk_id == bulk_id, Job.bulk_line > line).order_by(Job.bulk_line).limit(page)
        rows = list(session.scalars(query))
        if not rows:
            return
        pictures = images(session, [row.id for row in rows])
        yield from ((row, pictures[row.id]) for row in rows)
        line = rows[-1].bulk_line or 0
        session.expunge_all()
