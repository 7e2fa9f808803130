"""Predictions as Replicate's clients see them, made from the views of jobs."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any, Final

from limner_shared.domain.cards import Catalogue
from limner_shared.domain.jobs import JobState
from limner_shared.domain.views import JobView
from limner_shared.errors import DeadlineExceeded
from limner_web import waiting
from limner_web.replicate.inputs import shown_inputs
from limner_web.replicate.models import OWNER, version_id
from limner_web.services import Services

STATUS: Final = {
    JobState.QUEUED: "starting",
    JobState.RUNNING: "processing",
    JobState.SUCCEEDED: "succeeded",
    JobState.FAILED: "failed",
    JobState.CANCELED: "canceled",
}
"""Clients raise an error for any other word."""
BAR_CHARS: Final = 10


def status_of(job: JobView) -> str:
    """The prediction's status. A job that expired counts as canceled, as `Cancel-After` has it."""
    expired = job.error is not None and job.error.code == DeadlineExceeded.code
    return "canceled" if expired else STATUS[job.status]


def error_of(job: JobView) -> str | None:
    """Why the job failed, with our code."""
    return None if job.error is None else f"{job.error.code}: {job.error.message}"


def outputs(services: Services, job: JobView, origin: str, *, as_data: bool) -> list[str]:
    """The job's pictures as URLs, or as data URLs. Raises NotFound once their bytes were deleted, or StorageFailed."""
    if not as_data:
        return [f"{origin}{image.url}" for image in job.images]
    files = ((image.media_type, waiting.picture(services, image)) for image in job.images)
    return [f"data:{media_type};base64,{base64.b64encode(data).decode()}" for media_type, data in files]


def logs(job: JobView) -> str:
    """What the job does, with a line such as tqdm writes, from which clients read the progress."""
    if job.status is JobState.QUEUED:
        return "Waiting to start.\n" if job.position is None else f"Waiting to start; jobs ahead: {job.position}.\n"
    lines = [f"Drawing with {job.model}, seed {job.seed}."]
    done, total = 0, job.steps * job.n
    if job.progress is not None:
        done, total = job.progress.done, job.progress.total
    if job.status is JobState.SUCCEEDED:
        done = total
    if total:
        filled = BAR_CHARS * done // total
        lines.append(f"{100 * done // total:3d}%|{'#' * filled:{BAR_CHARS}}| {done}/{total}")
    return "\n".join([*lines, ""])


def prediction_object(
    job: JobView, catalogue: Catalogue, origin: str, output: list[str] | None, *, status: str | None = None
) -> dict[str, Any]:
    """A prediction. `status` replaces the job's own where a client expects another one."""
    card = catalogue.cards.get(job.model)
    this = f"{origin}/replicate/v1/predictions/{job.id}"
    return {
        "id": job.id,
        "model": f"{OWNER}/{job.model}",
        "version": version_id(card) if card is not None else "unknown",
        "status": status or status_of(job),
        "input": shown_inputs(job),
        "output": output or None,
        "error": error_of(job),
        "logs": logs(job),
        "metrics": _metrics(job),
        "created_at": job.created_at.isoformat(),
        "started_at": _text(job.started_at),
        "completed_at": _text(job.finished_at),
        "data_removed": job.status is JobState.SUCCEEDED and not (job.images and job.prompt),
        "source": "api",
        "urls": {"get": this, "cancel": f"{this}/cancel", "stream": f"{this}/stream", "web": f"{origin}/"},
    }


def _metrics(job: JobView) -> dict[str, float]:
    if job.finished_at is None:
        return {}
    total = (job.finished_at - job.created_at).total_seconds()
    drawing = (job.finished_at - job.started_at).total_seconds() if job.started_at else 0.0
    return {"predict_time": drawing, "total_time": total}


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
