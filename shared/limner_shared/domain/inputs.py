"""The pictures that a request gives its model: their fields and limits, and the task that they make. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MAX_IMAGE_CHARS: Final = 14_000_000
"""The length of a `data:` URL of a 10 MB picture."""
INPUT_FIELDS: Final = ("image", "mask", "control_image")
"""The fields of a request, and of a job's spec, that name a picture."""
CONTROL_FIELDS: Final = ("control_image", "control_scale", "control_start", "control_end")

MAX_REFERENCES: Final = 4
"""More reference pictures than users give, and as many as fit into one request."""
REFERENCE_FIELDS: Final = ("reference_images", "reference_scale")
MAX_ADAPTER_WEIGHT: Final = 4
"""And, below zero, the least."""

RequestedName = Annotated[str, StringConstraints(max_length=200)]
InputPicture = Annotated[str, StringConstraints(max_length=MAX_IMAGE_CHARS)]
"""The id of a picture, or of a job that was given one, or a `data:` URL; in a spec, the SHA-256 of what is stored."""
MaskPadding = Annotated[int, Field(ge=0, le=65_536, strict=True)]
Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Task = Literal["text-to-image", "image-to-image", "inpainting"]


def task_of(image: str | None, mask: str | None) -> Task | None:
    """The task of a request, from the pictures that it gives; None for a mask without an image."""
    if image is None:
        return "text-to-image" if mask is None else None
    return "image-to-image" if mask is None else "inpainting"


def reference_field(index: int) -> str:
    """The name of one of a request's reference pictures."""
    return f"reference_images[{index}]"


class RequestedReferences(BaseModel):
    """The reference pictures of a request."""

    reference_images: tuple[InputPicture, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_REFERENCES,
        description="What the picture takes its subject or style from, if the model takes references; each as `image`.",
    )
    reference_scale: float | None = Field(
        default=None, allow_inf_nan=False, description="How much is taken from `reference_images`."
    )


class SpecPictures(BaseModel):
    """The pictures of a job, each by its SHA-256."""

    model_config = ConfigDict(frozen=True)

    image: str | None = None
    """What the job starts from."""
    mask: str | None = None
    padding_mask_crop: int | None = None
    """Pixels around the mask's white that are drawn with it, enlarged; None: all of the picture. From version 3 on."""
    control_image: str | None = None
    """What the model's control network follows. From version 3 on, as its scale and its part of the steps."""
    reference_images: tuple[str, ...] = ()
    """From version 3 on, as the scale."""
    reference_scale: float = 0.0

    @property
    def task(self) -> Task:
        """The task of the job."""
        return task_of(self.image, self.mask) or "text-to-image"

    @property
    def inputs(self) -> dict[str, str]:
        """The SHA-256 of each picture that the job needs, by its field."""
        references = {reference_field(index): value for index, value in enumerate(self.reference_images)}
        return {field: value for field in INPUT_FIELDS if (value := getattr(self, field)) is not None} | references

    def with_inputs(self, values: Mapping[str, str]) -> Self:
        """The spec with other values for its pictures, by their fields."""
        references = tuple(values[reference_field(index)] for index in range(len(self.reference_images)))
        plain = {field: value for field, value in values.items() if field in INPUT_FIELDS}
        return self.model_copy(update={**plain, "reference_images": references})


class Adapter(BaseModel):
    """A LoRA adapter of the model's card, and its weight."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: RequestedName
    weight: float = Field(default=1.0, ge=-MAX_ADAPTER_WEIGHT, le=MAX_ADAPTER_WEIGHT, strict=True, allow_inf_nan=False)
