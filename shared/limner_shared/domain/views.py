"""The API's responses: the web builds these views, the client parses them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from limner_shared.domain.conditions import Interpretation
from limner_shared.domain.jobs import Adapter, JobState, Priority


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
    alt_text: str | None = Field(default=None, description="A text alternative that describes the picture.")


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
    guidance_rescale: float = 0.0
    scheduler: str | None = None
    adapters: list[Adapter] = Field(default_factory=list[Adapter])
    image: str | None = Field(default=None, description="SHA-256 of the picture to start from, fitted to the size.")
    mask: str | None = None
    strength: float | None = None
    reproducible: bool = False
    description: str | None = Field(
        default=None, description="The requested description, if it was not a plain prompt."
    )
    revised_prompt: str | None = Field(default=None, description="The prompt that was derived from the description.")
    interpretation: Interpretation | None = Field(
        default=None, description="Everything that was derived from the description."
    )
    presentation: str | None = Field(default=None, description="The finished picture in a sentence or two.")
    priority: Priority
    metadata: dict[str, Any]
    bulk: str | None
    line: int | None = Field(description="The line of the bulk that this job came from.")
    attempts: int = Field(
        default=0,
        description="How many times a worker began it; more than one means that a worker was lost or stopped.",
    )
    retries: int = Field(default=0, description="How often it was retried after an error that may pass.")
    max_retries: int = Field(default=0, description="How often it is retried at most.")
    last_error: ErrorView | None = Field(default=None, description="The error after which it was retried last.")
    retry_of: str | None = Field(default=None, description="The dead letter that this job retries.")
    not_before: datetime | None = Field(
        default=None, description="When it may start, while it waits for that time: as requested, or its next retry."
    )
    position: int | None = Field(
        description="Jobs ahead of it for the same workers, while queued but not waiting for a time; at most 1000."
    )
    progress: ProgressView | None = Field(description="While running.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None = None
    images: list[ImageView]
    error: ErrorView | None
    links: dict[str, str]


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


class BulkView(BaseModel):
    """A bulk and its job counts by state."""

    id: str
    status: str = Field(description="loading, running, paused, done, canceling or canceled")
    total: int = Field(description="Its jobs; while loading, the lines read so far.")
    counts: dict[str, int]
    skipped: SkippedView | None = Field(default=None, description="Lines left out, as `on_error=skip` asks for.")
    created_at: datetime
    links: dict[str, str]

    @property
    def ended(self) -> int:
        """The number of its jobs in a terminal state."""
        return sum(self.counts.get(state, 0) for state in JobState if state.terminal)


class BulkList(BaseModel):
    """The newest bulks."""

    items: list[BulkView]


class Retried(BaseModel):
    """The new jobs that retry dead letters."""

    jobs: list[str]


class TurnView(BaseModel):
    """One message of a conversation, and its job."""

    id: str
    parent: str | None = Field(description="The turn that it answers; edited messages have the same one.")
    message: str
    created_at: datetime
    job: JobView | None = Field(description="Null once the job was deleted.")


class ConversationView(BaseModel):
    """A conversation; in a list, without turns."""

    id: str
    title: str
    created_at: datetime
    touched_at: datetime
    turns: list[TurnView] = Field(default_factory=list[TurnView])
    links: dict[str, str]


class ConversationList(BaseModel):
    """A page of conversations; `next` is the cursor of the next page, if there is one."""

    items: list[ConversationView]
    next: str | None


class ModelView(BaseModel):
    """A model and its limits."""

    name: str
    title: str
    description: str
    licence: str
    default: bool
    tasks: list[str] = Field(
        default_factory=lambda: ["text-to-image"], description="What it can draw: from text, from a picture, in a mask."
    )
    sizes: list[str]
    styles: list[str]
    steps: dict[str, float]
    guidance: dict[str, float]
    max_images: int
    max_prompt_chars: int
    negative_prompts: bool = Field(default=True, description="Whether it takes a `negative_prompt`.")
    max_retries: dict[str, float] = Field(default_factory=dict[str, float], description="Limits of `max_retries`.")


class ModelList(BaseModel):
    """The models of this service."""

    items: list[ModelView]
