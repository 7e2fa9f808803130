"""The pictures that a request gives its model: their fields and limits, and the task that they make. No I/O."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MAX_IMAGE_CHARS: Final = 14_000_000
"""The length of a `data:` URL of a 10 MB picture."""
INPUT_FIELDS: Final = ("image", "mask", "control_image")
"""The fields of a request, and of a job's spec, that name a picture."""
CONTROL_FIELDS: Final = ("control_image", "control_scale", "control_start", "control_end")

RequestedName = Annotated[str, StringConstraints(max_length=200)]
InputPicture = Annotated[str, StringConstraints(max_length=MAX_IMAGE_CHARS)]
"""The id of a picture, or of a job that was given one, or a `data:` URL; in a spec, the SHA-256 of what is stored."""
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Task = Literal["text-to-image", "image-to-image", "inpainting"]


def task_of(image: str | None, mask: str | None) -> Task | None:
    """The task of a request, from the pictures that it gives; None for a mask without an image."""
    if image is None:
        return "text-to-image" if mask is None else None
    return "image-to-image" if mask is None else "inpainting"


class Adapter(BaseModel):
    """A LoRA adapter of the model's card, and its weight."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: RequestedName
    weight: float = Field(default=1.0, ge=-4, le=4, strict=True, allow_inf_nan=False)
