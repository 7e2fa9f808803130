"""Jobs: the request that a client sends, the spec that a worker runs, and the states. No I/O."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import to_jsonable_python

from limner_shared.domain.conditions import Beyond, Description, Turn
from limner_shared.domain.durations import DAY_SECONDS
from limner_shared.domain.inputs import (
    Adapter,
    Fraction,
    InputPicture,
    MaskPadding,
    RequestedName,
    RequestedReferences,
    SpecPictures,
)  # fmt: skip
from limner_shared.domain.scenes import NearestName, Scene, SceneRule
from limner_shared.domain.scheduling import Moment
from limner_shared.domain.unique import Unique
from limner_shared.domain.webhooks import JobEventType, WebhookUrl

MAX_SEED: Final = 2**32 - 1
SPEC_VERSION: Final = 3
"""The newest version of the specs that this code writes. A worker leaves specs of a newer version to newer workers, and
ignores fields that it does not know: raise it with a field that changes pictures, and store it where the field is set.
"""
CANDIDATE_STRIDE: Final = 1024
"""What separates the seeds of an image's candidates, for each style by seed; a job has fewer images."""
MAX_METADATA_BYTES: Final = 4096


class JobState(StrEnum):
    """The state of a job; terminal states are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def terminal(self) -> bool:
        """Whether the state is final."""
        return not TRANSITIONS[self]


TRANSITIONS: Final[dict[JobState, frozenset[JobState]]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELED, JobState.FAILED}),
    JobState.RUNNING: frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED, JobState.QUEUED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELED: frozenset(),
}
"""The states that may follow each state. The ledger uses `sources` as the condition of its updates."""


def sources(target: JobState) -> tuple[JobState, ...]:
    """The states from which a job may go to `target`."""
    return tuple(state for state, targets in TRANSITIONS.items() if target in targets)


class Priority(StrEnum):
    """The three priority classes. The default is `low` for a bulk and `normal` for a single job."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"

    @property
    def rank(self) -> int:
        """The rank; 0 is served first."""
        return list(Priority).index(self)


class Lane(IntEnum):
    """The lane of a released job; lower lanes are served first, by the queue and at every step of the engine.

    The priority class decides the lane, with two exceptions: a small job of a tenant with no active jobs goes FIRST (as
    FQ-CoDel, RFC 8290, treats sparse flows), and a job over which two workers were lost runs ALONE.
    """

    FIRST = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3
    ALONE = 4

    @classmethod
    def of(cls, rank: int) -> Lane:
        """The lane of a priority rank."""
        return cls(rank + 1)


LOSSES_TOGETHER: Final = 2
"""After this many lost workers a job runs alone; only later losses, while it ran alone, are charged to it."""

Prompt = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=20_000)]
JobQuality = Literal["standard", "best"]


class JobRequest(RequestedReferences):
    """A request from a client. An omitted field takes the model card's default."""

    model_config = ConfigDict(extra="forbid")

    prompt: Prompt | None = Field(
        default=None, description="What the picture shows; used unchanged.", examples=["a red apple"]
    )
    description: Description | None = Field(
        default=None,
        description="Instead of `prompt`: what you want, in your own words and language; prompt, style, size and "
        "number are derived from it. Fields that are also set take precedence.",
    )
    negative_prompt: str | None = Field(
        default=None, max_length=20_000, description="What the picture should not show."
    )
    model: RequestedName | None = Field(default=None, description="A name from `GET /models`.")
    style: RequestedName | None = Field(
        default=None,
        description="One of the model's styles. Default: the first, or, if the model says so, by each picture's seed.",
    )
    width: int | None = Field(default=None, strict=True, description="Pixels; with `height`, one of the model's sizes.")
    height: int | None = Field(default=None, strict=True, description="Pixels.")
    size: RequestedName | None = Field(default=None, description="`256x256`, say, instead of `width` and `height`.")
    steps: int | None = Field(default=None, strict=True, description="Denoising steps: more is slower and often finer.")
    quality: JobQuality = Field(
        default="standard",
        description="`best`: draw several candidates for each picture, and keep the one that the model's evaluator "
        "ranks highest. Costs as many times more; `candidates` of `GET /models` says how many.",
    )
    guidance: float | None = Field(
        default=None, allow_inf_nan=False, description="How strictly the prompt is followed."
    )
    guidance_rescale: Fraction | None = Field(default=None, description="Against overexposure (Lin et al. 2023).")
    scheduler: RequestedName | None = Field(
        default=None, description="One of the model's schedulers; default: its own."
    )
    adapters: tuple[Adapter, ...] = Field(default=(), max_length=8, description="LoRA adapters of the model.")
    image: InputPicture | None = Field(
        default=None,
        description="What to start from: the id of one of your pictures, or a `data:` URL of a PNG, JPEG or WebP; or "
        "the id of one of your jobs, for the picture that it was given in the same field.",
    )
    mask: InputPicture | None = Field(
        default=None, description="White where `image` may change; same format as `image`."
    )
    padding_mask_crop: MaskPadding | None = Field(
        default=None,
        description="Draw only the part of `image` around the white of `mask` and this many pixels on each side of it, "
        "in the job's full size, and put it into `image`. Default: the whole picture.",
    )
    strength: float | None = Field(
        default=None,
        gt=0,
        le=1,
        allow_inf_nan=False,
        description="How far the picture may differ from `image`; default 0.8. Takes `strength` × `steps` steps.",
    )
    control_image: InputPicture | None = Field(
        default=None, description="What the picture follows, such as its edges or depth; same format as `image`."
    )
    control_scale: float | None = Field(
        default=None, allow_inf_nan=False, description="How strictly `control_image` is followed."
    )
    control_start: Fraction | None = Field(default=None, description="From which part of the steps on; default 0.")
    control_end: Fraction | None = Field(default=None, description="Up to which part of the steps; default 1.")
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED, strict=True, description="Default: random.")
    n: int = Field(default=1, ge=1, strict=True, description="How many pictures, with seeds `seed`, `seed` + 1, …")
    priority: Priority | None = Field(default=None, description="`normal`; in a bulk, `low`.")
    expires_in: float | None = Field(
        default=None, gt=0, le=30 * DAY_SECONDS, allow_inf_nan=False, description="Seconds after which the job expires."
    )
    not_before: Moment | None = Field(
        default=None, description="Start the job at this time or later; at most 30 days ahead. Default: at once."
    )
    max_retries: int | None = Field(
        default=None,
        ge=0,
        strict=True,
        description="How often the job is retried after an error that may pass, with growing delays; 0: never. "
        "Default and limit: the model's.",
    )
    webhook: WebhookUrl | None = Field(
        default=None, description="An https URL that receives the job's events; signed with `GET /webhook_secret`."
    )
    webhook_events_filter: tuple[JobEventType, ...] | None = Field(
        default=None, min_length=1, max_length=4, description="Which events. Default: those that end the job."
    )
    unique: Unique | None = Field(
        default=None, description="At most one job with this key at a time. A replay or a retry has no key."
    )
    reproducible: bool = Field(default=False, description="Same request, same bytes, at any load; slower at low load.")
    provenance: bool = Field(
        default=True, description="Whether the files record which model made them and how; never the prompt."
    )
    metadata: dict[str, Any] = Field(default_factory=dict, description="Your own data, at most 4 KiB as JSON in UTF-8.")


class JobSpec(SpecPictures):
    """Everything that a worker needs: all defaults are filled in, all values are within the model card's limits."""

    model_config = ConfigDict(frozen=True)

    version: Literal[1, 2, 3] = 1
    prompt: str
    negative_prompt: str = ""
    model: str
    style: str | None = None
    styles: tuple[str, ...] = ()
    """Styles of which the seed of each picture picks one if `style` is None; empty in jobs of 0.1.0."""
    width: int
    height: int
    steps: int
    guidance: float
    seed: int
    n: int = 1
    candidates: int = 1
    """Pictures drawn for each image; the evaluator keeps one. Above 1 needs version 2."""
    guidance_rescale: float = 0.0
    dropped_negative: str = ""
    """What a description wanted left out, where the model cannot leave things out."""
    beyond: Beyond | None = None
    """What a description asked for beyond the model's limits."""
    nearest_name: NearestName | None = None
    """The model card's rule when the job was accepted; None, as in earlier jobs, draws every prompt as it is."""
    scenes: SceneRule | None = None
    """The model card's rule when the job was accepted; None, as in earlier jobs, draws every prompt as a whole."""
    scene: Scene | None = None
    """For a replay: the scene from the receipts, used instead of reading the prompt again."""
    plain_words: bool = False
    """Whether the weights of words are left out of what is drawn. From version 3 on; in earlier jobs they are drawn."""
    scheduler: str | None = None
    adapters: tuple[Adapter, ...] = ()
    strength: float | None = None
    control_scale: float | None = None
    control_start: float = 0.0
    control_end: float = 1.0
    reproducible: bool = False
    provenance: bool = False
    """Whether the picture files say how they were made; those of earlier versions' jobs did not."""
    description: str | None = None
    """The text that the conditions above are to be derived from; until then, `prompt` is the description itself."""
    history: tuple[Turn, ...] = ()
    """The earlier messages of a conversation, the oldest first."""
    languages: tuple[str, ...] = ()
    """The codes of the languages that the client prefers, the best first: a short text may be in several."""
    given: tuple[str, ...] = ()
    """The names of the conditions that the client set in addition to a description."""
    replay: tuple[tuple[int, ...], ...] = ()
    """For each image, the batch sizes of an earlier job's calls, to reproduce its bytes."""
    replay_places: tuple[tuple[int, ...], ...] = ()
    """For each image, its places in these batches, where its device may give another place other bits."""
    seeds: tuple[int, ...] = ()
    """For a replay of a job of quality best: the seed of each kept image."""

    @classmethod
    def read(cls, stored: object) -> JobSpec | None:
        """Parse the spec in a job's row; None if it is damaged."""
        try:
            return cls.model_validate(stored)
        except ValidationError:
            return None

    def stored(self) -> dict[str, Any]:
        """The spec as JSON for its row, without the optional fields that have their default. Specs of 0.1.0 lack such
        fields too, so a default never changes.
        """
        values = self.model_dump(mode="json")
        return {name: value for name, value in values.items() if name not in _OMITTED or value != _OMITTED[name]}

    def image_seed(self, index: int) -> int:
        """The seed of image `index`: image k of seed s equals image 0 of seed s + k."""
        return self.seeds[index] if self.seeds else (self.seed + index) % (MAX_SEED + 1)

    def candidate_seed(self, index: int, candidate: int) -> int:
        """The seed of a candidate for image `index`; it is drawn in the image's style."""
        stride = CANDIDATE_STRIDE * max(1, len(self.styles))
        return (self.image_seed(index) + candidate * stride) % (MAX_SEED + 1)

    def style_for(self, seed: int) -> str | None:
        """The style of the image with this seed. Neighbouring seeds have different styles, so that all are used."""
        return self.style or (self.styles[seed % len(self.styles)] if self.styles else None)

    @property
    def common_style(self) -> str | None:
        """The style that all images of the job have; None if it differs."""
        return self.style_for(self.seed) if self.n == 1 else self.style


_OMITTED: Final = {
    name: to_jsonable_python(field.default)
    for name, field in JobSpec.model_fields.items()
    # 0.1.0 reads these four without a default.
    if not (field.is_required() or name in ("version", "negative_prompt", "style", "n"))
}
