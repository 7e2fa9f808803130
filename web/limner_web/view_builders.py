"""Builds the API's views from database rows and model cards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, overload

from flask import url_for
from pydantic import ValidationError
from sqlalchemy.orm import Session

from limner_shared.db import queries
from limner_shared.db.tables import Bulk, Conversation, ConversationTurn, Image, Job
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.conditions import Interpretation
from limner_shared.domain.jobs import JobSpec, JobState, Priority
from limner_shared.domain.views import (
    BulkView,
    ConversationView,
    ErrorView,
    ImageView,
    JobView,
    ModelView,
    ProgressView,
    SkippedView,
    TurnView,
)
from limner_shared.messaging.hints import Hints

SPEC_FIELDS: Final = (JobSpec.model_fields.keys() & JobView.model_fields.keys()) - {"version"}
"""The fields of a stored spec that a view shows."""
UNREADABLE: Final[dict[str, Any]] = {
    "prompt": "",
    "negative_prompt": "",
    "style": None,
    **dict.fromkeys(("width", "height", "steps", "guidance", "seed", "n"), 0),
}
"""What a view shows instead of a damaged stored spec."""


def job_view(session: Session, hints: Hints, row: Job) -> JobView:
    """The view of one job, with its position in the queue or its progress."""
    view = _plain_view(row, queries.images(session, [row.id])[row.id])
    if row.state == JobState.QUEUED and row.not_before is None:
        view.position = queries.position(session, row)
    if row.state == JobState.RUNNING:
        _add_progress(hints, [view])
    return view


def job_views(session: Session, hints: Hints, rows: list[Job]) -> list[JobView]:
    """The views of several jobs, without their positions in the queue, which would cost a query each."""
    pictures = queries.images(session, [row.id for row in rows])
    views = [_plain_view(row, pictures[row.id]) for row in rows]
    _add_progress(hints, [view for view in views if view.status is JobState.RUNNING])
    return views


def result_view(row: Job, images: list[Image]) -> JobView:
    """The view of a job in a bulk's results: without position and progress."""
    return _plain_view(row, images)


def _add_progress(hints: Hints, views: Iterable[JobView]) -> None:
    by_id = {view.id: view for view in views}
    for job_id, progress in hints.progress(by_id).items():
        by_id[job_id].progress = ProgressView(done=progress.done, total=progress.total)


def _plain_view(row: Job, images: list[Image]) -> JobView:
    try:
        return _view(row, images, row.spec, row.interpretation)
    except (ValidationError, AttributeError):  # AttributeError if the spec is not even an object
        # A damaged row must not hide the other rows of its page or bulk.
        return _view(row, images, UNREADABLE | {"model": row.model}, None)


def _view(row: Job, images: list[Image], stored: dict[str, Any], interpretation: dict[str, Any] | None) -> JobView:
    spec = {key: value for key, value in stored.items() if key in SPEC_FIELDS}
    error = None
    if row.error_code is not None:
        error = ErrorView(code=row.error_code, message=row.error_message or "", retryable=bool(row.error_retryable))
    ended = JobState(row.state).terminal
    this = url_for("jobs.get_job", job_id=row.id)
    return JobView(
        id=row.id,
        status=JobState(row.state),
        version=row.version,
        priority=list(Priority)[row.priority],
        metadata=row.extra,
        bulk=row.bulk_id,
        line=row.bulk_line,
        attempts=row.attempt,
        retries=row.retries,
        max_retries=row.max_retries,
        last_error=error if row.retries and row.state != JobState.FAILED else None,
        retry_of=row.retry_of,
        not_before=None if ended else moment(row.not_before),
        position=None,
        progress=None,
        created_at=moment(row.created_at),
        started_at=moment(row.started_at),
        finished_at=moment(row.finished_at),
        expires_at=moment(row.deadline_at),
        images=[_image_view(image) for image in images],
        error=error if ended and row.state == JobState.FAILED else None,
        links={"self": this, "cancel": f"{this}/cancel"},
        revised_prompt=stored.get("prompt") if interpretation else None,
        interpretation=None if interpretation is None else Interpretation.model_validate(interpretation),
        presentation=row.presentation,
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
        alt_text=row.alt_text,
    )


def bulk_view(session: Session, row: Bulk) -> BulkView:
    """The view of a bulk."""
    counts = queries.bulk_counts(session, row)
    open_jobs = counts[JobState.QUEUED] + counts[JobState.RUNNING]
    status = row.state if row.state != "open" else ("running" if open_jobs else "done")
    this = url_for("bulks.get_bulk", bulk_id=row.id)
    return BulkView(
        id=row.id,
        status=status,
        total=row.total,
        counts={state.value: count for state, count in counts.items()},
        skipped=None if row.skipped is None else SkippedView.model_validate(row.skipped),
        created_at=moment(row.created_at),
        links={"self": this} | {name: f"{this}/{name}" for name in ("cancel", "pause", "resume", "results")},
    )


def conversation_view(
    session: Session, hints: Hints, row: Conversation, *, with_turns: bool = True
) -> ConversationView:
    """The view of a conversation, with all its turns if `with_turns`."""
    this = url_for("conversations.get_conversation", conversation_id=row.id)
    return ConversationView(
        id=row.id,
        title=row.title,
        created_at=moment(row.created_at),
        touched_at=moment(row.touched_at),
        turns=turn_views(session, hints, queries.turns(session, row.id)) if with_turns else [],
        links={"self": this, "messages": f"{this}/messages"},
    )


def turn_views(session: Session, hints: Hints, turns: Sequence[tuple[ConversationTurn, Job | None]]) -> list[TurnView]:
    """The views of turns, each with its job."""
    views = {view.id: view for view in job_views(session, hints, [job for _, job in turns if job is not None])}
    return [
        TurnView(
            id=turn.id,
            parent=turn.parent_id,
            message=turn.text,
            created_at=moment(turn.created_at),
            job=views.get(turn.job_id),
        )
        for turn, _ in turns
    ]


def model_view(card: ModelCard, default: str) -> ModelView:
    """The view of a model card."""
    return ModelView(
        name=card.name,
        title=card.title,
        description=card.description,
        licence=card.licence,
        default=card.name == default,
        tasks=list(card.tasks),
        sizes=[f"{width}x{height}" for width, height in card.sizes],
        styles=list(card.styles),
        steps=card.steps.model_dump(),
        guidance=card.guidance.model_dump(),
        max_images=card.max_images,
        max_prompt_chars=card.max_prompt_chars,
        max_retries=card.max_retries.model_dump(),
        negative_prompts=card.takes_negative_prompts,
    )


@overload
def moment(seconds: float) -> datetime: ...
@overload
def moment(seconds: None) -> None: ...
def moment(seconds: float | None) -> datetime | None:
    """Convert the database's seconds since 1970 to a time in UTC; None stays None."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
