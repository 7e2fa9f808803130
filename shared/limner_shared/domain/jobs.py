"""What a job is: the request a client sends, the spec a worker runs, and the states between them. No I/O."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from limner_shared.domain.conditions import Description, Turn

MAX_SEED: Final = 2**32 - 1
SPEC_VERSION: Final = 1
"""Of the specs that this version writes. A worker leaves those of a newer version to newer workers."""
MAX_METADATA_BYTES: Final = 4096
MAX_IMAGE_CHARS: Final = 14_000_000
"""A `data:` URL of a picture of 10 MB."""


class JobState(StrEnum):
    """Where a job stands; a terminal state is never left."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def terminal(self) -> bool:
        """Whether nothing more will happen to the job."""
        return not TRANSITIONS[self]


TRANSITIONS: Final[dict[JobState, frozenset[JobState]]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELED, JobState.FAILED}),
    JobState.RUNNING: frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED, JobState.QUEUED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELED: frozenset(),
}
"""From each state, the states that may follow. The ledger's conditional updates ask `sources` for their guard."""


def sources(target: JobState) -> tuple[JobState, ...]:
    """The states from which a job may go to `target`."""
    return tuple(state for state, targets in TRANSITIONS.items() if target in targets)


class Priority(StrEnum):
    """Three classes; a bulk is `low` unless it says otherwise, a single job `normal`."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 is served first."""
        return list(Priority).index(self)


class Lane(IntEnum):
    """Where a released job stands; a lower one is served first, by the queue and at every step of the engine.

    A job's class decides its lane, with two exceptions: the small job of a tenant that has nothing in hand goes FIRST
    (as FQ-CoDel, RFC 8290, treats sparse flows), and one that two workers were lost over runs ALONE.
    """

    FIRST = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3
    ALONE = 4

    @classmethod
    def of(cls, rank: int) -> Lane:
        """The lane of a class."""
        return cls(rank + 1)


LOSSES_TOGETHER: Final = 2
"""After so many lost workers a job runs alone; only those lost while it was alone count against it."""

Prompt = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=20_000)]
RequestedName = Annotated[str, StringConstraints(max_length=200)]


Task = Literal["text-to-image", "image-to-image", "inpainting"]


def task_of(image: str | None, mask: str | None) -> Task | None:
    """What a request asks for by the pictures that it gives; None for a mask without an image."""
    if image is None:
        return "text-to-image" if mask is None else None
    return "image-to-image" if mask is None else "inpainting"


class Adapter(BaseModel):
    """A LoRA adapter of the model's card, and how strongly it applies."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: RequestedName
    weight: float = Field(default=1.0, ge=-4, le=4, allow_inf_nan=False)


class JobRequest(BaseModel):
    """What a client sends. A field left out takes the model card's default."""

    model_config = ConfigDict(extra="forbid")

    prompt: Prompt | None = Field(
        default=None, description="What the picture shows, taken as it is.", examples=["a red apple"]
    )
    description: Description | None = Field(
        default=None,
        description="Instead of `prompt`: what you would like, in your own words and language; prompt, style, size and "
        "number are made of it. Fields that are given beside it win.",
    )
    negative_prompt: str | None = Field(
        default=None, max_length=20_000, description="What the picture should not show."
    )
    model: RequestedName | None = Field(default=None, description="A name from `GET /models`.")
    style: RequestedName | None = Field(default=None, description="One of the model's styles.")
    width: int | None = Field(default=None, strict=True, description="Pixels; with `height`, one of the model's sizes.")
    height: int | None = Field(default=None, strict=True, description="Pixels.")
    steps: int | None = Field(default=None, strict=True, description="Denoising steps: more is slower and often finer.")
    guidance: float | None = Field(
        default=None, allow_inf_nan=False, description="How strictly the prompt is followed."
    )
    guidance_rescale: float | None = Field(
        default=None, ge=0, le=1, allow_inf_nan=False, description="Against overexposure (Lin et al. 2023)."
    )
    scheduler: RequestedName | None = Field(
        default=None, description="One of the model's schedulers; left out: its own."
    )
    adapters: tuple[Adapter, ...] = Field(default=(), max_length=8, description="LoRA adapters of the model.")
    image: str | None = Field(
        default=None,
        max_length=MAX_IMAGE_CHARS,
        description="What to start from: the id of a picture of yours, or a `data:` URL of a PNG, JPEG or WebP.",
    )
    mask: str | None = Field(
        default=None, max_length=MAX_IMAGE_CHARS, description="White where `image` may change; given as `image` is."
    )
    strength: float | None = Field(
        default=None, gt=0, le=1, allow_inf_nan=False, description="How far from `image` the picture may go; 0.8."
    )
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED, strict=True, description="Left out: drawn at random.")
    n: int = Field(default=1, ge=1, strict=True, description="How many pictures, with seeds `seed`, `seed` + 1, …")
    priority: Priority | None = Field(default=None, description="`normal`; in a bulk, `low`.")
    expires_in: float | None = Field(
        default=None,
        gt=0,
        le=30 * 86400,
        allow_inf_nan=False,
        description="Seconds after which it is no longer wanted.",
    )
    reproducible: bool = Field(
        default=False, description="The same request gives the same bytes, at any load; slower when little is going on."
    )
    provenance: bool = Field(
        default=True, description="Whether the files say which model made them, and how; never the prompt."
    )
    metadata: dict[str, Any] = Field(
        default_factory=dict, description="Anything of yours, at most 4 KiB as JSON in UTF-8."
    )


class JobSpec(BaseModel):
    """All that a worker needs: every default resolved, every value within the model card's limits. Stored as JSON."""

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = 1
    prompt: str
    negative_prompt: str = ""
    model: str
    style: str | None = None
    width: int
    height: int
    steps: int
    guidance: float
    seed: int
    n: int = 1
    guidance_rescale: float = 0.0
    scheduler: str | None = None
    adapters: tuple[Adapter, ...] = ()
    image: str | None = None
    """SHA-256 of the picture to start from."""
    mask: str | None = None
    strength: float | None = None
    reproducible: bool = False
    provenance: bool = False
    """Whether the pictures' files say how they were made; earlier jobs' did not."""
    description: str | None = None
    """What the conditions above are to be made of; until they are, `prompt` is the description itself."""
    history: tuple[Turn, ...] = ()
    """In a conversation, what was said before, the oldest first."""
    given: tuple[str, ...] = ()
    """The names of the conditions that the client chose, beside a description."""
    replay: tuple[tuple[int, ...], ...] = ()
    """For each image, the batch sizes of an earlier job's calls, to make its bytes again."""

    @property
    def task(self) -> Task:
        """What kind of request it is."""
        return task_of(self.image, self.mask) or "text-to-image"

    @classmethod
    def read(cls, stored: object) -> JobSpec | None:
        """The spec that a job's row holds; None if it is damaged."""
        try:
            return cls.model_validate(stored)
        except ValidationError:
            return None

    def image_seed(self, index: int) -> int:
        """The seed of image `index`: picture k of seed s is picture 0 of seed s + k."""
        return (self.seed + index) % (MAX_SEED + 1)
