"""What a model's view says of the pictures that its requests may give. No I/O."""

from __future__ import annotations

from pydantic import BaseModel, Field


class ControlView(BaseModel):
    """How a model follows a control picture, which each of its requests gives."""

    scale: dict[str, float] = Field(description="Limits of `control_scale`.")
    interval: bool = Field(description="Whether it takes `control_start` and `control_end`.")


class ReferenceView(BaseModel):
    """How a model takes reference pictures."""

    most: int = Field(description="How many `reference_images` a request may give.")
    scale: dict[str, float] = Field(description="Limits of `reference_scale`.")
