"""Presets: settings of the studio that a tenant keeps under a name. No I/O."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from limner_shared.domain.inputs import Adapter, RequestedName
from limner_shared.domain.jobs import MAX_SEED, JobQuality

MAX_PRESETS: Final = 100
"""Presets of one tenant."""
Number = Annotated[int, Field(ge=1, le=100_000, strict=True)]


class PresetSettings(BaseModel):
    """Fields of a job request, all but what the picture shows. One that is missing takes the model's default.

    Whether the model allows them is checked when a job is submitted with them: cards change, and presets remain.
    """

    model_config = ConfigDict(extra="forbid")

    model: RequestedName | None = None
    style: RequestedName | None = None
    width: Number | None = None
    height: Number | None = None
    n: Number | None = None
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED, strict=True, description="Null: random.")
    steps: Number | None = None
    guidance: float | None = Field(default=None, strict=True, allow_inf_nan=False)
    negative_prompt: str | None = Field(default=None, max_length=20_000)
    scheduler: RequestedName | None = None
    quality: JobQuality | None = None
    adapters: tuple[Adapter, ...] = Field(default=(), max_length=8)


class PresetView(BaseModel):
    """A preset."""

    name: str
    settings: PresetSettings
    updated_at: datetime = Field(description="When its settings were saved last.")


class PresetList(BaseModel):
    """The presets by name; at most 100."""

    items: list[PresetView]
