"""Structured fields of a model card: sources of weights, ranges, qualities. No I/O."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator

from limner_shared.domain.inputs import MAX_REFERENCES

Quality = Literal["low", "medium", "high"]
FACTORS: Final[dict[Quality, float]] = {"low": 0.5, "medium": 1.0, "high": 2.0}
"""The steps of each quality of a card that does not set them, as a multiple of its default."""

# A typing error in a card must not use all memory or run for hours.
MAX_STEPS: Final = 10_000
Side = Annotated[int, Field(ge=1, le=65_536)]
"""Pixels along one side of a picture."""
BatchSize = Annotated[int, Field(ge=1, le=4096)]
"""Rows of one call of a model, which is padded to it."""


class Source(BaseModel):
    """The source of weights: exactly one of a local folder, a folder in an installed package, or a hub id."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Path | None = None
    package: str | None = Field(
        default=None, description="`package:folder`, such as `limner_worker:models/limner-flow`."
    )
    hub: str | None = None
    revision: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{40}$",
        description="The commit of the hub's repository: all 40 hex digits, so that the weights cannot change.",
    )

    variant: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9][a-z0-9_-]*$",
        description="Of a pipeline of diffusers: which of its weights are read, such as `fp16`, where it has several.",
    )

    @property
    def name(self) -> str:
        """The name for messages."""
        return str(self.hub or self.package or self.folder)

    @model_validator(mode="after")
    def _one(self) -> Source:
        if sum(value is not None for value in (self.folder, self.package, self.hub)) != 1:
            raise ValueError("name exactly one of folder, package and hub")
        if (self.hub is None) != (self.revision is None):
            raise ValueError("hub needs its revision, the commit's 40 hex digits, and nothing else has one")
        return self


class Range(BaseModel):
    """Inclusive bounds, and the default between them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min: float = Field(allow_inf_nan=False)
    max: float = Field(allow_inf_nan=False)
    default: float = Field(allow_inf_nan=False)

    def __str__(self) -> str:
        """The bounds as errors name them."""
        return f"{self.min:g}" if self.min == self.max else f"{self.min:g} to {self.max:g}"

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not self.min <= self.default <= self.max:
            raise ValueError("must be min <= default <= max")
        return self


class StepRange(Range):
    """Inclusive bounds of the number of steps, and the default. Schedules are computed for the bounds at load."""

    min: float = Field(ge=1, allow_inf_nan=False)
    max: float = Field(le=MAX_STEPS, allow_inf_nan=False)


class Control(BaseModel):
    """How a model's control network may be used. Each request then gives the picture that it follows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scale: Range = Field(default=Range(min=0, max=2, default=1), description="Limits of `control_scale`.")
    interval: bool = Field(default=True, description="Whether `control_start` and `control_end` may be given.")


class Reference(BaseModel):
    """How a model takes reference pictures: by an IP-Adapter, or, without one, as further pictures in the pipeline's
    `image`, as models do that edit by instruction.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    adapter: Source | None = Field(
        default=None,
        description="An IP-Adapter: a folder with its weights, and its encoder in `image_encoder`. Without one, the "
        "pipeline's `image` must take several pictures.",
    )
    most: int = Field(default=1, ge=1, le=MAX_REFERENCES, description="How many `reference_images` a request may give.")
    scale: Range = Field(default=Range(min=0, max=1, default=0.6), description="Limits of `reference_scale`.")

    @model_validator(mode="before")
    @classmethod
    def _without_scale(cls, given: Any) -> Any:
        """Only an adapter has a scale."""
        if not isinstance(given, dict) or cast("dict[str, Any]", given).get("adapter") is not None:
            return cast("Any", given)
        none = Range(min=0, max=0, default=0)
        if Range.model_validate(cast("dict[str, Any]", given).get("scale", none)) != none:
            raise ValueError("scale: only an adapter has one: remove it")
        return {**cast("dict[str, Any]", given), "scale": none}


OF_PIPELINES: Final = {
    "adapter_folder": "have adapters",
    "prompt_weights": "can weigh words",
    "refiner": "have one",
    "safety_checker": "have one of their own",
    "vae_tiling": "decode in tiles",
}
"""Fields of a card, with other values than their defaults, of pipelines of diffusers alone, and what these do."""
UNCHANGING: Final = frozenset(("compile", "cuda_graphs", "device_map", "offload"))
"""Fields of a card, with other values than their defaults, that need layers which stay as they were loaded."""
NOT_REFINED: Final = frozenset(
    {"adapter_folder", "adapters", "control", "device_map", "offload", "prompt_weights", "reference", "tasks"}
)
"""Fields of a card, with other values than their defaults, that cannot be combined with a refiner."""


class Refiner(BaseModel):
    """The second model of SDXL, which draws the last steps of each picture."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Source
    switch_at: float = Field(
        default=0.8, gt=0, lt=1, allow_inf_nan=False, description="At which part of the schedule it takes over."
    )


class QualitySteps(BaseModel):
    """The steps of each quality; by default half of the card's default steps, the default, and twice as many."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    low: int | None = Field(default=None, ge=1)
    medium: int | None = Field(default=None, ge=1)
    high: int | None = Field(default=None, ge=1)

    def steps(self, quality: Quality, limits: Range) -> int:
        """The steps of a quality, within the card's limits of steps."""
        steps = getattr(self, quality) or round(limits.default * FACTORS[quality])
        return int(min(limits.max, max(limits.min, steps)))
