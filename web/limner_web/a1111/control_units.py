"""The control picture of a request, as A1111's ControlNet extension takes it, and pictures in base64."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.inputs import RequestedName
from limner_shared.domain.request_limits import refuse

UNIT: Final = "alwayson_scripts.controlnet.args[0]"
CALLED: Final = {
    "control_image": f"{UNIT}.image",
    "control_scale": f"{UNIT}.weight",
    "control_start": f"{UNIT}.guidance_start",
    "control_end": f"{UNIT}.guidance_end",
}
"""The extension's names of our fields."""
CROPPED: Final = (1, "Crop and Resize", "Scale to Fit (Inner Fit)")


class ControlUnit(BaseModel):
    """One unit. The control map comes from the client: there are no preprocessors here."""

    model_config = ConfigDict(extra="forbid")

    enabled: bool = True
    image: str | None = Field(default=None, validation_alias=AliasChoices("image", "input_image"))
    module: Literal["none", "None"] | None = "none"
    model: RequestedName | None = None
    weight: float = 1.0
    guidance_start: float = 0.0
    guidance_end: float = 1.0
    resize_mode: Literal[0, 1, 2] | RequestedName = CROPPED[0]
    control_mode: Literal[0, "Balanced"] = "Balanced"
    mask: None = None
    # What only preprocessors and the memory of the web UI's process read:
    low_vram: bool = False
    pixel_perfect: bool = False
    processor_res: float | None = None
    threshold_a: float | None = None
    threshold_b: float | None = None
    save_detected_map: bool = True


class ControlScript(BaseModel):
    """The arguments of the extension: one unit, since a model has one control network."""

    model_config = ConfigDict(extra="forbid")
    args: list[ControlUnit] = Field(default=[], max_length=1)


class Scripts(BaseModel):
    """The extensions that a request may use."""

    model_config = ConfigDict(extra="forbid")
    controlnet: ControlScript | None = Field(
        default=None, validation_alias=AliasChoices("controlnet", "ControlNet", "Controlnet")
    )


def control_fields(scripts: Scripts | None, card: ModelCard, warnings: list[str]) -> dict[str, Any]:
    """The fields of our request for the control picture. Adds to `warnings`. Raises InvalidRequest."""
    units = [] if scripts is None or scripts.controlnet is None else scripts.controlnet.args
    if not units or not units[0].enabled:
        return {}
    [unit] = units
    if unit.image is None:
        raise refuse(f"{UNIT}.image", "a unit without a picture", "the control map: there are no preprocessors here")
    if unit.model not in (None, "None", "none", card.name):
        warnings.append(f"{UNIT}.model: {card.name} uses its own control network, not {unit.model!r}.")
    if unit.resize_mode not in CROPPED:
        warnings.append(f"{UNIT}.resize_mode: the control picture is cropped to the size, as with 'Crop and Resize'.")
    part = {"control_start": unit.guidance_start or None, "control_end": unit.guidance_end}
    return {
        "control_image": data_url(unit.image),
        "control_scale": unit.weight,
        **{name: value for name, value in part.items() if value != 1.0},
    }


def data_url(image: str) -> str:
    """A picture as a data URL. A1111 takes bare base64 as well; which format it is shows in the first characters."""
    if image.startswith("data:"):
        return image
    kinds = {"/9j/": "jpeg", "UklG": "webp"}
    return f"data:image/{kinds.get(image[:4], 'png')};base64,{image}"
