"""The views of jobs and bulks, built from database rows: answers of the API and the data of webhooks alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast, overload

from pydantic import ValidationError
from sqlalchemy.orm import Session

from limner_shared.db import queries
from limner_shared.db.library_tables import Label
from limner_shared.db.queries import Shown
from limner_shared.db.tables import Bulk, Image, Job
from limner_shared.domain.conditions import Interpretation
from limner_shared.domain.image_views import SimilarImageView
from limner_shared.domain.jobs import JobSpec, JobState, Priority
from limner_shared.domain.labels import FAVOURITE
from limner_shared.domain.recognitions import Recognition
from limner_shared.domain.replay import DRAWN_AS, READ_CHARS, RECOGNITION, SCENE, STYLE
from limner_shared.domain.safety import SAFETY
from limner_shared.domain.scenes import Scene
from limner_shared.domain.views import BulkView, DuplicatesView, ErrorView, ImageView, JobView, SkippedView

API: Final = "/api/v1"
SPEC_FIELDS: Final = (JobSpec.model_fields.keys() & JobView.model_fields.keys()) - {"version"}
"""The fields of a stored spec that a view shows."""
UNREADABLE: Final[dict[str, Any]] = {
    "prompt": "",
    "negative_prompt": "",
    "style": None,
    **dict.fromkeys(("width", "height", "steps", "guidance", "seed", "n"), 0),
}
"""What a view shows instead of a damaged stored spec."""


def plain_view(shown: Shown) -> JobView:
    """The view of a job, without its position in the queue and its progress."""
    row = shown.job
    try:
        return _view(shown, row.spec, row.interpretation)
    except (ValidationError, AttributeError):  # AttributeError if the spec is not even an object
        # A damaged row must not hide the other rows of its page or bulk.
        return _view(shown, UNREADABLE | {"model": row.model}, None)


def _view(shown: Shown, stored: dict[str, Any], interpretation: dict[str, Any] | None) -> JobView:
    row, labels = shown.job, _labels(shown.labels)
    spec = {key: value for key, value in stored.items() if key in SPEC_FIELDS}
    error = None
    if row.error_code is not None:
        error = ErrorView(code=row.error_code, message=row.error_message or "", retryable=bool(row.error_retryable))
    ended = JobState(row.state).terminal
    this = f"{API}/jobs/{row.id}"
    return JobView(
        id=row.id,
        status=JobState(row.state),
        version=row.version,
        priority=list(Priority)[row.priority],
        metadata=row.extra,
        cost=row.cost,
        bulk=row.bulk_id,
        line=row.bulk_line,
        conversation=shown.conversation,
        attempts=row.attempt,
        retries=row.retries,
        max_retries=row.max_retries,
        last_error=error if row.retries and row.state != JobState.FAILED else None,
        retry_of=row.retry_of,
        not_before=None if ended else as_datetime(row.not_before),
        position=None,
        progress=None,
        created_at=as_datetime(row.created_at),
        started_at=as_datetime(row.started_at),
        finished_at=as_datetime(row.finished_at),
        expires_at=as_datetime(row.deadline_at),
        images=[_image_view(image, labels[image.id], spec.get("style")) for image in shown.images],
        favourite=FAVOURITE in labels[""],
        tags=[label for label in labels[""] if label != FAVOURITE],
        error=error if ended and row.state == JobState.FAILED else None,
        links={"self": this, "cancel": f"{this}/cancel"},
        revised_prompt=stored.get("prompt") if interpretation else None,
        interpretation=None if interpretation is None else Interpretation.model_validate(interpretation),
        presentation=row.presentation,
        **spec,
    )


def _labels(rows: Iterable[Label]) -> defaultdict[str, list[str]]:
    """The labels of each of a job's images, and of the job itself under an empty id."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        found[row.image_id].append(row.label)
    return found


def _image_view(row: Image, labels: Sequence[str], style: str | None) -> ImageView:
    """The view of an image; `style` is the job's, for receipts of versions that did not record it."""
    return ImageView(
        id=row.id,
        url=f"{API}/images/{row.id}",
        sha256=row.sha256,
        width=row.width,
        height=row.height,
        seed=row.seed,
        style=row.receipt.get(STYLE, style),
        drawn_as=row.receipt.get(DRAWN_AS),
        read_chars=row.receipt.get(READ_CHARS),
        scene=Scene.read(row.receipt.get(SCENE)),
        recognition=Recognition.read(row.receipt.get(RECOGNITION)),
        media_type=row.media_type,
        bytes=row.size_bytes,
        alt_text=row.alt_text,
        favourite=FAVOURITE in labels,
        tags=[label for label in labels if label != FAVOURITE],
        safety=row.receipt.get(SAFETY),
    )


def similar_image_view(row: Image, job: Job, labels: Iterable[Label], similarity: float) -> SimilarImageView:
    """The view of an image in a list of similar ones; `labels` are its job's and its job's images'."""
    view = _image_view(row, _labels(labels)[row.id], _style_of(job.spec))
    return SimilarImageView(**view.model_dump(), job=job.id, model=job.model, similarity=similarity)


def _style_of(spec: object) -> str | None:
    """The style of a stored spec; a damaged one may be of any type."""
    style: object = cast("dict[str, Any]", spec).get("style") if isinstance(spec, dict) else None
    return style if isinstance(style, str) else None


def bulk_view(session: Session, row: Bulk) -> BulkView:
    """The view of a bulk."""
    counts = queries.bulk_counts(session, row)
    open_jobs = counts[JobState.QUEUED] + counts[JobState.RUNNING]
    status = row.state if row.state != "open" else ("running" if open_jobs else "done")
    this = f"{API}/bulks/{row.id}"
    return BulkView(
        id=row.id,
        status=status,
        total=row.total,
        counts={state.value: count for state, count in counts.items()},
        skipped=None if row.skipped is None else SkippedView.model_validate(row.skipped),
        duplicates=None if row.duplicates is None else DuplicatesView.model_validate(row.duplicates),
        created_at=as_datetime(row.created_at),
        links={"self": this} | {name: f"{this}/{name}" for name in ("cancel", "pause", "resume", "results")},
    )


@overload
def as_datetime(seconds: float) -> datetime: ...
@overload
def as_datetime(seconds: None) -> None: ...
def as_datetime(seconds: float | None) -> datetime | None:
    """Convert the database's seconds since 1970 to a time in UTC; None stays None."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
