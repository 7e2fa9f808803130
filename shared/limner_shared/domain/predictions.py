"""Predictions: jobs as Replicate's clients see them, in answers and in webhooks. No I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.inputs import CONTROL_FIELDS, INPUT_FIELDS
from limner_shared.domain.jobs import JobState
from limner_shared.domain.picture_urls import MAX_SIDE, rendition_query
from limner_shared.domain.views import JobView
from limner_shared.errors import DeadlineExceeded

Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]

OWNER: Final = "limner"
"""The owner of every model."""
NAMES: Final = {
    "prompt": "prompt",
    "negative_prompt": "negative_prompt",
    "style": "style",
    "width": "width",
    "height": "height",
    "num_outputs": "n",
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
    "scheduler": "scheduler",
    "seed": "seed",
    "image": "image",
    "mask": "mask",
    "padding_mask_crop": "padding_mask_crop",
    "prompt_strength": "strength",
    "control_image": "control_image",
    "controlnet_conditioning_scale": "control_scale",
    "control_guidance_start": "control_start",
    "control_guidance_end": "control_end",
    "reference_images": "reference_images",
    "reference_scale": "reference_scale",
}
"""Our field of each input. The names are those of most text-to-image models on Replicate."""
STORED_INPUTS: Final = (*INPUT_FIELDS, "reference_images")
"""The inputs that are pictures; their names are those of our fields."""
STATUS: Final = {
    JobState.QUEUED: "starting",
    JobState.RUNNING: "processing",
    JobState.SUCCEEDED: "succeeded",
    JobState.FAILED: "failed",
    JobState.CANCELED: "canceled",
}
"""Clients raise an error for any other word."""
BAR_CHARS: Final = 10
MARK: Final = "replicate_output"
"""The member of a job's metadata that keeps the form of its pictures, if a prediction named one."""


class OutputInputs(BaseModel):
    """The inputs that say in which form a prediction's pictures are answered."""

    output_format: Literal["png", "jpg", "jpeg", "webp"] | None = None
    output_quality: int | None = Field(default=None, ge=0, le=100)


class OutputForm(OutputInputs):
    """The form of a prediction's pictures, as its job keeps it in metadata, which any client could write."""

    model_config = ConfigDict(extra="ignore")

    fit: tuple[Side, Side] | None = None
    """The width and height to which they are scaled; None if they stay as they were made."""

    @classmethod
    def read(cls, metadata: dict[str, Any]) -> OutputForm:
        """The form that the metadata of a job keep; the stored one if they keep none."""
        try:
            return OutputForm.model_validate(metadata.get(MARK, {}))
        except ValidationError:
            return OutputForm()

    def as_metadata(self) -> dict[str, Any]:
        """The metadata that keep this form."""
        kept = self.model_dump(mode="json", exclude_none=True)
        return {MARK: kept} if kept else {}

    def as_inputs(self) -> dict[str, Any]:
        """The inputs that lead to this form."""
        size = dict[str, int]() if self.fit is None else {"width": self.fit[0], "height": self.fit[1]}
        return self.model_dump(include={*OutputInputs.model_fields}, exclude_none=True) | size

    @property
    def kind(self) -> Literal["png", "jpeg", "webp"]:
        """The format by our name."""
        return "jpeg" if self.output_format == "jpg" else self.output_format or "png"

    @property
    def query(self) -> str:
        """What the URL of a picture has to say to give it in this form."""
        return rendition_query(self.kind, self.quality, self.fit)

    @property
    def quality(self) -> int | None:
        """The quality of JPEG and WebP."""
        return None if self.kind == "png" else self.output_quality

    @property
    def as_stored(self) -> bool:
        """Whether pictures are answered as they are stored."""
        return self.kind == "png" and self.fit is None


def version_id(card: ModelCard) -> str:
    """SHA-256 in hex of what a card says of its pictures, without the place of its weights."""
    return hashlib.sha256(card.model_dump_json(exclude={"source", "adapters", "safety"}).encode()).hexdigest()


def status_of(job: JobView) -> str:
    """The prediction's status. A job that expired counts as canceled, as `Cancel-After` has it."""
    expired = job.error is not None and job.error.code == DeadlineExceeded.code
    return "canceled" if expired else STATUS[job.status]


def error_of(job: JobView) -> str | None:
    """Why the job failed, with our code."""
    return None if job.error is None else f"{job.error.code}: {job.error.message}"


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
    job: JobView, catalogue: Catalogue, origin: str, output: Sequence[str] | None, *, status: str | None = None
) -> dict[str, Any]:
    """A prediction. `origin` begins its URLs; `status` replaces the job's own where a client expects another one."""
    card = catalogue.cards.get(job.model)
    this = f"{origin}/replicate/v1/predictions/{job.id}"
    return {
        "id": job.id,
        "model": f"{OWNER}/{job.model}",
        "version": version_id(card) if card is not None else "unknown",
        "status": status or status_of(job),
        "input": _shown_inputs(job),
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


def _shown_inputs(job: JobView) -> dict[str, Any]:
    """The inputs of a job, without the pictures that it starts from."""
    values = {theirs: getattr(job, ours) for theirs, ours in NAMES.items() if theirs not in STORED_INPUTS}
    if job.control_image is None:
        values = {name: value for name, value in values.items() if NAMES[name] not in CONTROL_FIELDS}
    if not job.reference_images:
        del values["reference_scale"]
    given = {name: value for name, value in values.items() if value not in (None, "")}
    return given | OutputForm.read(job.metadata).as_inputs()


def _metrics(job: JobView) -> dict[str, float]:
    if job.finished_at is None:
        return {}
    total = (job.finished_at - job.created_at).total_seconds()
    drawing = (job.finished_at - job.started_at).total_seconds() if job.started_at else 0.0
    return {"predict_time": drawing, "total_time": total}


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
