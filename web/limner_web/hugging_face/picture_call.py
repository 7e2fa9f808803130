"""What a client of Hugging Face sends for a picture, turned into our request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.jobs import JobRequest
from limner_shared.domain.request_limits import nearest_size, refuse
from limner_shared.errors import InvalidRequest
from limner_web.fitted_sizes import Size, fitted, warning
from limner_web.http.problems import renamed
from limner_web.long_texts import within_card
from limner_web.services import Services

CALLED: Final = {"steps": "num_inference_steps", "guidance": "guidance_scale"}
"""What the client calls our fields, where the names differ in both tasks."""
OF_TEXT: Final = CALLED | {"prompt": "inputs"}
OF_PICTURE: Final = CALLED | {
    "image": "inputs",
    "mask": "mask_image",
    "width": "target_size",
    "height": "target_size",
}
OF_EDITS: Final = ("target_size", "strength", "mask_image", "padding_mask_crop")
"""The parameters that only a call with a picture takes."""


class TargetSize(BaseModel):
    """The size of a picture that starts from another one, in pixels."""

    model_config = ConfigDict(extra="forbid")

    width: int
    height: int


class Parameters(BaseModel):
    """The parameters beside the inputs; those that have no meaning for a task are refused."""

    model_config = ConfigDict(extra="forbid")

    prompt: str | None = None
    """Makes the call image-to-image: its inputs are a picture."""
    negative_prompt: str | None = None
    width: int | None = None
    height: int | None = None
    target_size: TargetSize | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    scheduler: str | None = None
    seed: int | None = None
    style: str | None = None
    strength: float | None = None
    mask_image: str | None = None
    padding_mask_crop: int | None = None
    control_image: str | None = None
    control_scale: float | None = None
    control_start: float | None = None
    control_end: float | None = None
    reference_images: list[str] | None = None
    reference_scale: float | None = None


class PictureCall(BaseModel):
    """The body of a call."""

    model_config = ConfigDict(extra="forbid")

    inputs: str
    parameters: Parameters = Parameters()


@dataclass(frozen=True, slots=True)
class PictureOrder:
    """A call, read: the job request, and the client's names of its fields."""

    request: JobRequest
    names: dict[str, str]
    warnings: list[str]
    fit: Size | None
    """The size to which the picture is scaled; None if it stays as it was made."""


def read_order(services: Services, tenant_id: str, call: PictureCall, card: ModelCard, *, fits: bool) -> PictureOrder:
    """Read a call; `fits` says that pictures are scaled to a size that the model lacks.

    Raises InvalidRequest, which names the parameter.
    """
    given = call.parameters
    is_edit = given.prompt is not None
    _refuse_combinations(given, is_edit=is_edit)
    fields: dict[str, Any] = {
        "model": card.name,
        "negative_prompt": given.negative_prompt,
        "steps": given.num_inference_steps,
        "guidance": given.guidance_scale,
        "scheduler": given.scheduler,
        "seed": given.seed,
        "style": given.style,
        "control_image": given.control_image and _data_url(given.control_image),
        "control_scale": given.control_scale,
        "control_start": given.control_start,
        "control_end": given.control_end,
        "reference_images": given.reference_images and [_data_url(each) for each in given.reference_images],
        "reference_scale": given.reference_scale,
    }
    if is_edit:
        image = _data_url(call.inputs)
        width, height = _target(services, tenant_id, given.target_size, image, card)
        fields |= {"prompt": given.prompt, "image": image, "strength": given.strength}
        fields |= {"mask": given.mask_image and _data_url(given.mask_image)}
        fields |= {"padding_mask_crop": given.padding_mask_crop}
    else:
        width, height = given.width, given.height
        fields["prompt"] = call.inputs
    fit = None
    if fits and width is not None and height is not None:
        (width, height), fit = fitted(card, (width, height))
    fields |= {"width": width, "height": height}
    return _order(fields, card, OF_PICTURE if is_edit else OF_TEXT, fit)


def _order(fields: dict[str, Any], card: ModelCard, names: dict[str, str], fit: Size | None) -> PictureOrder:
    fields, warnings = within_card(fields, card, names)
    try:
        request = JobRequest.model_validate({name: value for name, value in fields.items() if value is not None})
    except ValidationError as error:
        raise renamed(error, names) from error
    return PictureOrder(request, names, [*warnings, *filter(None, [warning(fit)])], fit)


def _data_url(picture: str) -> str:
    """A picture as a data URL; clients send bare base64, and the id of a picture is one of this service."""
    if picture.startswith(("data:", "img_", "job_")):
        return picture
    return f"data:image/png;base64,{picture}"  # the real type is read from the data


def _refuse_combinations(given: Parameters, *, is_edit: bool) -> None:
    for name in ("width", "height") if is_edit else OF_EDITS:
        if getattr(given, name) is not None:
            allowed = "target_size" if is_edit else "a picture as inputs, and a prompt among the parameters"
            raise refuse(f"parameters.{name}", f"{name} in this task", allowed)


def _target(
    services: Services, tenant_id: str, asked: TargetSize | None, image: str, card: ModelCard
) -> tuple[int, int]:
    """The size asked for, or the model's size that is nearest to the picture."""
    if asked is not None:
        return asked.width, asked.height
    try:
        return nearest_size(card.sizes, *services.inputs.size(tenant_id, "image", image))
    except InvalidRequest as error:
        raise renamed(error, OF_PICTURE) from error
