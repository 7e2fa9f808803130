"""The API's responses: the web builds these views, the client parses them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from limner_shared.domain.conditions import Interpretation
from limner_shared.domain.inputs import Adapter
from limner_shared.domain.jobs import JobState, Priority
from limner_shared.domain.pauses import PauseKind
from limner_shared.domain.recognitions import Recognition
from limner_shared.domain.safety import SafetyLabel
from limner_shared.domain.scenes import Scene

Reason = Literal[
    "ended", "running", "scheduled", "retrying", "paused", "loading", "limited", "no_worker", "no_dispatcher", "queued"
]


class ImageView(BaseModel):
    """One picture."""

    id: str
    url: str
    sha256: str
    width: int
    height: int
    seed: int
    style: str | None = Field(default=None, description="The style that it was drawn in.")
    drawn_as: str | None = Field(default=None, description="The known name that was drawn in place of the prompt.")
    read_chars: int | None = Field(
        default=None, description="How many characters of the prompt the model's text encoders read, if not all."
    )
    scene: Scene | None = Field(default=None, description="Its parts, if it was not drawn as a whole.")
    recognition: Recognition | None = Field(
        default=None, description="What the evaluator says of it; null if it was not asked."
    )
    media_type: str
    bytes: int
    alt_text: str | None = Field(default=None, description="A text alternative that describes the picture.")
    favourite: bool = Field(default=False, description="Whether it was marked as a favourite.")
    tags: list[str] = Field(default_factory=list[str], description="The picture's own tags, in order.")
    safety: SafetyLabel | None = Field(default=None, description="The safety stage's label; null where it is off.")


class ImageLink(BaseModel):
    """A link to an image that works without a key until it expires."""

    url: str
    expires_at: datetime


class ReceiptView(BaseModel):
    """How a picture was made: hashes of the model's weights, versions, device, and the batch size of every call."""

    image: str
    sha256: str
    receipt: dict[str, Any]


class Receipts(BaseModel):
    """The receipts of a job's pictures, in order."""

    items: list[ReceiptView]


class ProgressView(BaseModel):
    """Steps done and total steps, over all images of a job."""

    done: int
    total: int


class ErrorView(BaseModel):
    """Why a job failed, or why its last attempt did."""

    code: str
    message: str
    retryable: bool


class PauseNotice(BaseModel):
    """A pause for which jobs wait."""

    what: PauseKind = Field(description="What is paused: the `model`, or the `tenant` of the job.")
    own: bool = Field(default=False, description="Whether you paused your own queue, with `PUT /pause`.")
    reason: str | None
    since: datetime
    until: datetime | None = Field(description="When it ends by itself, if that is planned.")


class JobView(BaseModel):
    """A job as its owner sees it."""

    id: str
    status: JobState
    version: int
    model: str
    prompt: str
    negative_prompt: str
    style: str | None = Field(description="Null if none was chosen: then each picture has its own.")
    width: int
    height: int
    steps: int
    guidance: float
    seed: int
    n: int
    candidates: int = Field(default=1, description="How many are drawn for each picture, of which the best is kept.")
    cost: int = Field(default=0, description="Cost units: steps × tokens × pictures × candidates.")
    guidance_rescale: float = 0.0
    scheduler: str | None = None
    adapters: list[Adapter] = Field(default_factory=list[Adapter])
    image: str | None = Field(default=None, description="SHA-256 of the picture to start from, fitted to the size.")
    mask: str | None = None
    padding_mask_crop: int | None = None
    strength: float | None = None
    control_image: str | None = Field(default=None, description="SHA-256 of the control picture, fitted to the size.")
    control_scale: float | None = None
    reference_images: list[str] = Field(default=[], description="SHA-256 of each reference picture, made smaller.")
    reference_scale: float = 0.0
    control_start: float = 0.0
    control_end: float = 1.0
    reproducible: bool = False
    description: str | None = Field(default=None, description="The description, if not a plain prompt.")
    given: list[str] = Field(
        default=[], description="With a description: the fields that the request chose itself, such as `style`."
    )
    revised_prompt: str | None = Field(default=None, description="The prompt that was derived from the description.")
    interpretation: Interpretation | None = Field(default=None, description="What was derived from the description.")
    presentation: str | None = Field(default=None, description="The finished picture in a sentence or two.")
    priority: Priority
    metadata: dict[str, Any]
    favourite: bool = Field(default=False, description="Whether the job itself was marked as a favourite.")
    tags: list[str] = Field(default_factory=list[str], description="The job's own tags, in order.")
    bulk: str | None
    line: int | None = Field(description="The line of the bulk that this job came from.")
    conversation: str | None = Field(default=None, description="The conversation that asked for this job.")
    attempts: int = Field(
        default=0,
        description="How many times a worker began it; more than one means that a worker was lost or stopped.",
    )
    retries: int = Field(default=0, description="How often it was retried after an error that may pass.")
    max_retries: int = Field(default=0, description="How often it is retried at most.")
    last_error: ErrorView | None = Field(default=None, description="The error after which it was retried last.")
    existing: bool = Field(
        default=False,
        description="In the answer to a submission: this earlier job holds the `unique` key, and no job was made.",
    )
    retry_of: str | None = Field(default=None, description="The dead letter that this job retries.")
    not_before: datetime | None = Field(
        default=None, description="When it may start, while it waits for that time: as requested, or its next retry."
    )
    position: int | None = Field(
        description="Jobs ahead of it for the same workers, while queued but not waiting for a time; at most 1000."
    )
    paused: PauseNotice | None = Field(default=None, description="The pause for which it waits, while queued.")
    progress: ProgressView | None = Field(description="While running.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None = None
    images: list[ImageView]
    error: ErrorView | None
    links: dict[str, str]


class EtaView(BaseModel):
    """When the job is expected to be finished, in seconds from now."""

    median_seconds: float
    p90_seconds: float = Field(description="Nine of ten jobs in this position are finished earlier.")


class RateView(BaseModel):
    """The measured rate of the model: over its latest finished jobs, without the time in which none ran."""

    jobs: int = Field(description="How many finished jobs were measured.")
    jobs_per_minute: float
    median_seconds: float = Field(description="The median time that one of them ran.")


class ExplanationView(BaseModel):
    """Why a job waits, in words and numbers."""

    id: str
    status: JobState
    reason: Reason = Field(description="The reason, for programs.")
    message: str = Field(description="The reason in a sentence.")
    lane: str | None = Field(description="The lane that it waits in: first, high, normal, low or alone.")
    ahead: int | None = Field(description="Jobs ahead of it; at most 1000.")
    tenants: int | None = Field(description="Tenants that take turns in its lane, itself included; at most 50.")
    workers: int | None = Field(description="Workers that serve its model; null if Redis is unavailable.")
    rate: RateView | None = Field(description="Null if too few jobs of the model were finished within a day.")
    eta: EtaView | None = Field(description="Null if it cannot be known, for example while no worker serves the model.")


class JobList(BaseModel):
    """A page of jobs; `next` is the cursor of the next page, if there is one."""

    items: list[JobView]
    next: str | None


class LineError(BaseModel):
    """An error in one line of a bulk."""

    line: int
    field: str | None
    message: str


class SkippedView(BaseModel):
    """The lines that were left out of a bulk."""

    count: int
    errors: list[LineError] = Field(description="The errors of the first 100.")


class DuplicateLine(BaseModel):
    """A line of a bulk that made no job."""

    line: int
    job: str = Field(description="The job that holds its `unique` key.")


class DuplicatesView(BaseModel):
    """The lines of a bulk whose `unique` keys other jobs held."""

    count: int
    lines: list[DuplicateLine] = Field(description="The first 100.")


class BulkView(BaseModel):
    """A bulk and its job counts by state."""

    id: str
    status: str = Field(description="loading, running, paused, done, canceling or canceled")
    total: int = Field(description="Its jobs; while loading, the lines read so far.")
    counts: dict[str, int]
    skipped: SkippedView | None = Field(default=None, description="Lines left out, as `on_error=skip` asks for.")
    duplicates: DuplicatesView | None = Field(
        default=None, description="Lines that made no job, because another job holds their `unique` key."
    )
    created_at: datetime
    links: dict[str, str]

    @property
    def ended(self) -> int:
        """The number of its jobs in a terminal state."""
        return sum(self.counts.get(state, 0) for state in JobState if state.terminal)


class BulkList(BaseModel):
    """A page of bulks, newest first."""

    items: list[BulkView]
    next: str | None = Field(default=None, description="The `cursor` of the next page; null on the last page.")


class Retried(BaseModel):
    """The new jobs that retry dead letters."""

    jobs: list[str]
