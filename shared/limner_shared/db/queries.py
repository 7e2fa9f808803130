"""The read queries on jobs, bulks and images. Each is limited in what it returns and served by an index, regardless of
the number of jobs (`bench/backlog.py` shows it at a million).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from sqlalchemy import Select, bindparam, func, select, text
from sqlalchemy.orm import Session

from limner_shared.db.engine import now
from limner_shared.db.library_tables import Label
from limner_shared.db.tables import (
    DONE,
    QUEUED,
    SHARED,
    Bulk,
    Conversation,
    ConversationTurn,
    Garbage,
    Image,
    Input,
    Job,
    Leader,
)
from limner_shared.domain.bulks import BulkState
from limner_shared.domain.estimates import FinishedRun
from limner_shared.domain.jobs import JobSpec, JobState
from limner_shared.errors import NotFound


class Shown(NamedTuple):
    """A job with all that its view shows."""

    job: Job
    images: list[Image]
    labels: list[Label]
    conversation: str | None = None
    """The id of the conversation that asked for it."""


def job(session: Session, tenant_id: str, job_id: str) -> Job:
    """A tenant's job. Raises NotFound if it does not exist or belongs to another tenant."""
    found = session.scalar(_job(), {"job_id": job_id, "tenant": tenant_id})
    if found is None:
        raise NotFound(f"There is no job {job_id}.")
    return found


@cache
def _job() -> Select[Job]:
    """The statement of `job`, built once: to build it costs more than to run it."""
    return select(Job).where(Job.id == bindparam("job_id"), Job.tenant_id == bindparam("tenant"))


def jobs_of(session: Session, tenant_id: str, job_ids: Sequence[str]) -> list[Job]:
    """Those of these jobs that are the tenant's, in the order of the ids."""
    rows = {row.id: row for row in session.scalars(select(Job).where(Job.id.in_(job_ids), Job.tenant_id == tenant_id))}
    return [rows[job_id] for job_id in dict.fromkeys(job_ids) if job_id in rows]


def ended(session: Session, job_ids: Sequence[str]) -> set[str]:
    """The subset of these jobs that have ended."""
    terminal = [state for state in JobState if state.terminal]
    return set(session.scalars(select(Job.id).where(Job.id.in_(job_ids), Job.state.in_(terminal))))


def has_dispatcher(session: Session) -> bool:
    """Whether a dispatcher is running: one that leads renews its leadership of a duty every few seconds."""
    return session.scalar(select(Leader.duty).where(Leader.until > now()).limit(1)) is not None


def ended_after(session: Session, job_id: str, seconds: float) -> bool:
    """Whether a job exists and ended less than `seconds` ago or has not ended."""
    ended_late = (Job.finished_at.is_(None)) | (Job.finished_at > now() - seconds)
    return session.scalar(select(Job.id).where(Job.id == job_id, ended_late)) is not None


def images(session: Session, job_ids: Sequence[str]) -> dict[str, list[Image]]:
    """The images of each job, in order."""
    found: dict[str, list[Image]] = {job_id: [] for job_id in job_ids}
    for row in session.scalars(
        select(Image).where(Image.job_id.in_(job_ids)).order_by(Image.job_id, Image.image_index)
    ):
        found[row.job_id].append(row)
    return found


def keeps_inputs(session: Session, job_id: str) -> bool:
    """Whether the input pictures of a job are kept; False if it has none."""
    return session.scalar(select(Input.id).where(Input.job_id == job_id).limit(1)) is not None


def kept_inputs(session: Session, tenant_id: str, job_id: str) -> dict[str, str]:
    """The SHA-256 of each input picture of a job that is kept, by its field. Raises NotFound if there is no job."""
    spec = JobSpec.read(job(session, tenant_id, job_id).spec)
    return spec.inputs if spec is not None and keeps_inputs(session, job_id) else {}


def shown(session: Session, rows: Sequence[Job]) -> list[Shown]:
    """These jobs with all that a view of them shows."""
    ids = [row.id for row in rows]
    pictures, marks = images(session, ids), labels(session, ids)
    asked = conversations_of(session, [row.id for row in rows if row.bulk_id is None])
    return [Shown(row, pictures[row.id], marks.get(row.id, []), asked.get(row.id)) for row in rows]


def conversations_of(session: Session, job_ids: Sequence[str]) -> dict[str, str]:
    """The id of the conversation of each of these jobs that belongs to one."""
    columns = (ConversationTurn.job_id, ConversationTurn.conversation_id)
    query = select(*columns).where(ConversationTurn.job_id.in_(job_ids))
    return {row.job_id: row.conversation_id for row in session.execute(query)} if job_ids else {}


def labels(session: Session, job_ids: Sequence[str]) -> dict[str, list[Label]]:
    """The labels of each job and its images; jobs without one are left out."""
    found: dict[str, list[Label]] = {}
    for row in session.scalars(select(Label).where(Label.job_id.in_(job_ids)).order_by(Label.label)):
        found.setdefault(row.job_id, []).append(row)
    return found


def image(session: Session, tenant_id: str, image_id: str) -> Image:
    """A tenant's image. Raises NotFound."""
    found, owner = linked_image(session, image_id)
    if owner != tenant_id:
        raise _no_image(image_id)
    return found


def linked_image(session: Session, image_id: str) -> tuple[Image, str]:
    """An image and the id of the tenant that owns it. Raises NotFound."""
    query = select(Image, Job.tenant_id).join(Job, Job.id == Image.job_id).where(Image.id == image_id)
    found = session.execute(query).first()
    if found is None:
        raise _no_image(image_id)
    return found[0], found[1]


def _no_image(image_id: str) -> NotFound:
    return NotFound(f"There is no image {image_id}.")


def image_with_bytes(session: Session, tenant_id: str, sha256: str) -> Image | None:
    """A tenant's newest image whose stored file has this SHA-256, or None."""
    query = select(Image).join(Job, Job.id == Image.job_id).where(Image.sha256 == sha256, Job.tenant_id == tenant_id)
    return session.scalar(query.order_by(Image.id.desc()).limit(1))


def pictures_of(session: Session, keys: Sequence[str]) -> dict[str, Image]:
    """A stored picture for each of these deduplication keys; keys without one are left out."""
    query = select(Image).where(Image.deduplication_key.in_(keys), text(f"images.{SHARED}"))
    return {
        row.deduplication_key: row
        for row in session.scalars(query.order_by(Image.id))
        if row.deduplication_key is not None
    }


def pictures_in_use(session: Session, digests: Sequence[str]) -> set[str]:
    """The subset of these blobs that an image refers to."""
    return set(session.scalars(select(Image.sha256).where(Image.sha256.in_(digests))))


def unknown_pictures(session: Session, digests: Sequence[str]) -> list[str]:
    """The subset of these blobs that no image refers to and that are not marked as garbage yet."""
    garbage = set(session.scalars(select(Garbage.sha256).where(Garbage.sha256.in_(digests))))
    return sorted(set(digests) - garbage - pictures_in_use(session, digests))


def latest_runs(session: Session, model: str, since_seconds: float, limit: int) -> list[FinishedRun]:
    """A model's latest jobs that succeeded at their first attempt, at most `limit`, not older than `since_seconds`."""
    return [run for _, run in latest_runs_of_workers(session, model, since_seconds, limit)]


def latest_runs_of_workers(
    session: Session, model: str, since_seconds: float, limit: int
) -> list[tuple[str | None, FinishedRun]]:
    """The same, each with its worker.

    `started_at` is the start of the first attempt: a job that waited between two says nothing about the model.
    """
    recent = (Job.model == model) & text(DONE) & (Job.finished_at > now() - since_seconds) & (Job.attempt <= 1)
    columns = (Job.owner, Job.started_at, Job.finished_at, Job.cost)
    found = session.execute(select(*columns).where(recent).order_by(Job.finished_at.desc()).limit(limit))
    return [
        (owner, FinishedRun(start, end, cost))
        for owner, start, end, cost in found
        if start is not None and end is not None
    ]


def bulk(session: Session, tenant_id: str, bulk_id: str) -> Bulk:
    """A tenant's bulk. Raises NotFound."""
    found = session.scalar(select(Bulk).where(Bulk.id == bulk_id, Bulk.tenant_id == tenant_id))
    if found is None or found.state == BulkState.DROPPING:
        raise NotFound(f"There is no bulk {bulk_id}.")
    return found


def bulks(session: Session, tenant_id: str, limit: int, before: str | None) -> list[Bulk]:
    """A page of a tenant's bulks, newest first, older than the id `before`."""
    query = select(Bulk).where(Bulk.tenant_id == tenant_id, Bulk.state != BulkState.DROPPING)
    if before is not None:
        query = query.where(Bulk.id < before)
    return list(session.scalars(query.order_by(Bulk.id.desc()).limit(limit)))


def bulk_counts(session: Session, row: Bulk) -> dict[JobState, int]:
    """A bulk's job counts by state, including zeros. Only running jobs are counted here; the row has the others."""
    running = select(func.count()).where(Job.bulk_id == row.id, Job.state == JobState.RUNNING)
    counts = {
        JobState.RUNNING: session.scalar(running) or 0,
        JobState.SUCCEEDED: row.succeeded,
        JobState.FAILED: row.failed,
        JobState.CANCELED: row.canceled,
    }
    return counts | {JobState.QUEUED: max(0, row.total - sum(counts.values()))}


def bulk_jobs(session: Session, bulk_id: str, after_line: int, limit: int) -> list[Shown]:
    """The next jobs of a bulk in line order, with their images."""
    query = select(Job).where(Job.bulk_id == bulk_id, Job.bulk_line > after_line).order_by(Job.bulk_line).limit(limit)
    return shown(session, session.scalars(query).all())


def conversation(session: Session, tenant_id: str, conversation_id: str) -> Conversation:
    """A tenant's conversation. Raises NotFound."""
    query = select(Conversation).where(Conversation.id == conversation_id, Conversation.tenant_id == tenant_id)
    found = session.scalar(query)
    if found is None:
        raise NotFound(f"There is no conversation {conversation_id}.")
    return found


def conversations(session: Session, tenant_id: str, limit: int, before: str | None) -> list[Conversation]:
    """A page of a tenant's conversations, newest first, older than the id `before`."""
    query = select(Conversation).where(Conversation.tenant_id == tenant_id).order_by(Conversation.id.desc())
    if before is not None:
        query = query.where(Conversation.id < before)
    return list(session.scalars(query.limit(limit)))


def turns(session: Session, conversation_id: str) -> list[tuple[ConversationTurn, Job | None]]:
    """A conversation's turns in order, each with its job, or None if that was deleted."""
    query = (
        select(ConversationTurn, Job)
        .outerjoin(Job, Job.id == ConversationTurn.job_id)
        .where(ConversationTurn.conversation_id == conversation_id)
        .order_by(ConversationTurn.id)
    )
    return [(row[0], row[1]) for row in session.execute(query)]


def turn(session: Session, tenant_id: str, turn_id: str) -> ConversationTurn:
    """A turn of a tenant's conversation. Raises NotFound."""
    query = select(ConversationTurn).join(Conversation, Conversation.id == ConversationTurn.conversation_id)
    found = session.scalar(query.where(ConversationTurn.id == turn_id, Conversation.tenant_id == tenant_id))
    if found is None:
        raise NotFound(f"There is no turn {turn_id}.")
    return found


def queued_jobs(session: Session, tenant_id: str, limit: int, without: Sequence[str] = ()) -> int:
    """A tenant's number of queued jobs, `without` those of some bulks; counting stops at `limit`."""
    some = select(Job.id).where(Job.tenant_id == tenant_id, text(QUEUED))
    if without:
        some = some.where(Job.bulk_id.is_(None) | Job.bulk_id.not_in(without))
    return session.scalar(select(func.count()).select_from(some.limit(limit).subquery())) or 0
