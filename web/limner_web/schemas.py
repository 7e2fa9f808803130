"""What the API answers: the views of jobs, bulks and models, and how they are built from rows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, overload

from flask import url_for
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from limner_shared import queries
from limner_shared.cards import ModelCard
from limner_shared.events import Hints
from limner_shared.jobs import JobState, Priority
from limner_shared.tables import Bulk, Image, Job


class CreateHeaders(BaseModel):
    """What a request that makes something may say of itself."""

    idempotency_key: str | None = Field(
        default=None,
        min_length=1,
        max_length=255,
        description="Any text of yours: the same request with the same key within 24 hours makes nothing new.",
    )


class ImageView(BaseModel):
    """One picture."""

    id: str
    url: str
    sha256: str
    width: int
    height: int
    seed: int
    media_type: str
    bytes: int


class ProgressView(BaseModel):
    """Steps done of all the steps of a job's images."""

    done: int
    total: int


class ErrorView(BaseModel):
    """Why a job failed."""

    code: str
    message: str
    retryable: bool


class JobView(BaseModel):
    """A job as its owner sees it."""

    id: str
    status: JobState
    version: int
    model: str
    prompt: str
    negative_prompt: str
    style: str | None
    width: int
    height: int
    steps: int
    guidance: float
    seed: int
    n: int
    priority: Priority
    metadata: dict[str, Any]
    bulk: str | None
    line: int | None = Field(description="The line of the bulk that this job came from.")
    position: int | None = Field(description="Jobs of the same model ahead of it, while queued; at most 1000.")
    progress: ProgressView | None = Field(description="While running.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    images: list[ImageView]
    error: ErrorView | None
    links: dict[str, str]


class JobList(BaseModel):
    """A page of jobs; `next` is the cursor of the page after, if there is one."""

    items: list[JobView]
    next: str | None


class BulkView(BaseModel):
    """A bulk and how many of its jobs stand where."""

    id: str
    status: str = Field(description="loading, running, done or canceled")
    total: int
    counts: dict[str, int]
    created_at: datetime
    links: dict[str, str]


class ModelView(BaseModel):
    """What may be asked of a model."""

    name: str
    title: str
    description: str
    licence: str
    default: bool
    sizes: list[str]
    styles: list[str]
    steps: dict[str, float]
    guidance: dict[str, float]
    max_images: int
    max_prompt_chars: int


class ModelList(BaseModel):
    """The models of this service."""

    items: list[ModelView]


def job_view(session: Session, hints: Hints, row: Job) -> JobView:
    """The view of one job, with its place in the queue or its progress."""
    view = _plain_view(row, queries.images(session, [row.id])[row.id])
    if row.state == JobState.QUEUED:
        view.position = queries.position(session, row)
    if row.state == JobState.RUNNING:
        _add_progress(hints, [view])
    return view


def job_views(session: Session, hints: Hints, rows: list[Job]) -> list[JobView]:
    """The views of many jobs, without places in the queue, which would cost a query each."""
    pictures = queries.images(session, [row.id for row in rows])
    views = [_plain_view(row, pictures[row.id]) for row in rows]
    _add_progress(hints, [view for view in views if view.status is JobState.RUNNING])
    return views


def result_view(row: Job, images: list[Image]) -> JobView:
    """A line of a bulk's results."""
    return _plain_view(row, images)


def _add_progress(hints: Hints, views: Iterable[JobView]) -> None:
    by_id = {view.id: view for view in views}
    for job_id, progress in hints.progress(by_id).items():
        by_id[job_id].progress = ProgressView(done=progress.done, total=progress.total)


def _plain_view(row: Job, images: list[Image]) -> JobView:
    spec = {key: value for key, value in row.spec.items() if key != "version"}
    error = None
    if row.error_code is not None:
        error = ErrorView(code=row.error_code, message=row.error_message or "", retryable=bool(row.error_retryable))
    this = url_for("jobs.get_job", job_id=row.id)
    return JobView(
        id=row.id,
        status=JobState(row.state),
        version=row.version,
        priority=list(Priority)[row.priority],
        metadata=row.extra,
        bulk=row.bulk_id,
        line=row.bulk_line,
        position=None,
        progress=None,
        created_at=moment(row.created_at),
        started_at=moment(row.started_at),
        finished_at=moment(row.finished_at),
        images=[_image_view(image) for image in images],
        error=error,
        links={"self": this, "cancel": f"{this}/cancel"},
        **spec,
    )


def _image_view(row: Image) -> ImageView:
    return ImageView(
        id=row.id,
        url=url_for("images.get_image", image_id=row.id),
        sha256=row.sha256,
        width=row.width,
        height=row.height,
        seed=row.seed,
        media_type=row.media_type,
        bytes=row.size_bytes,
    )


def bulk_view(session: Session, row: Bulk) -> BulkView:
    """The view of a bulk."""
    counts = queries.bulk_counts(session, row.id)
    open_jobs = counts[JobState.QUEUED] + counts[JobState.RUNNING]
    status = row.state if row.state != "open" else ("running" if open_jobs else "done")
    this = url_for("bulks.get_bulk", bulk_id=row.id)
    return BulkView(
        id=row.id,
        status=status,
        total=row.total,
        counts={state.value: count for state, count in counts.items()},
        created_at=moment(row.created_at),
        links={"self": this, "cancel": f"{this}/cancel", "results": f"{this}/results"},
    )


def model_view(card: ModelCard, default: str) -> ModelView:
    """The view of a model card."""
    return ModelView(
        name=card.name,
        title=card.title,
        description=card.description,
        licence=card.licence,
        default=card.name == default,
        sizes=[f"{width}x{height}" for width, height in card.sizes],
        styles=list(card.styles),
        steps=card.steps.model_dump(),
        guidance=card.guidance.model_dump(),
        max_images=card.max_images,
        max_prompt_chars=card.max_prompt_chars,
    )


@overload
def moment(seconds: float) -> datetime: ...
@overload
def moment(seconds: None) -> None: ...
def moment(seconds: float | None) -> datetime | None:
    """The database's seconds since 1970 as a time in UTC; None stays None."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
