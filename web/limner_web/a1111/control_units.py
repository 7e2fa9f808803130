"""The control and reference pictures of a request, as A1111's ControlNet extension takes them, and pictures in base64.

The extension has one list for both: a unit whose preprocessor is an IP-Adapter's gives a reference picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, cast, get_args

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.inputs import MAX_REFERENCES, RequestedName, reference_field
from limner_shared.domain.request_limits import refuse

CROPPED: Final = (1, "Crop and Resize", "Scale to Fit (Inner Fit)")
MODES: Final = {
    "Balanced": 0,
    "My prompt is more important": 1,
    "ControlNet is more important": 2,
}
MAX_UNITS: Final = 10 + MAX_REFERENCES
"""Units of a request, most of which are not enabled: the extension shows up to ten."""
NO_PREPROCESSOR: Final = ("none", "None", None)
Module = Literal[
    "none",
    "None",
    "ip-adapter-auto",
    "ip-adapter_clip_g",
    "ip-adapter_clip_h",
    "ip-adapter_clip_sd15",
    "ip-adapter_clip_sdxl",
    "ip-adapter_clip_sdxl_plus_vith",
]
REFERENCE_MODULES: Final[tuple[str, ...]] = tuple(name for name in get_args(Module) if name not in NO_PREPROCESSOR)


class ControlUnit(BaseModel):
    """One unit. A control map comes from the client: there are no preprocessors here."""

    model_config = ConfigDict(extra="forbid")

    enabled: bool = True
    image: str | None = Field(default=None, validation_alias=AliasChoices("image", "input_image"))
    module: Module | None = "none"
    model: RequestedName | None = None
    weight: float = 1.0
    guidance_start: float = 0.0
    guidance_end: float = 1.0
    resize_mode: Literal[0, 1, 2] | RequestedName = CROPPED[0]
    control_mode: Literal[0, 1, 2] | RequestedName = 0
    mask: Literal[""] | None = None
    guessmode: Literal[False] | None = None
    # What only preprocessors, a second pass at a larger size and the memory of the web UI's process read:
    hr_option: str | None = None
    low_vram: bool = Field(default=False, validation_alias=AliasChoices("low_vram", "lowvram"))
    pixel_perfect: bool = False
    processor_res: float | None = None
    threshold_a: float | None = None
    threshold_b: float | None = None
    save_detected_map: bool = True

    @property
    def is_reference(self) -> bool:
        """Whether it is an IP-Adapter's."""
        return self.module not in NO_PREPROCESSOR


def _blank_if_disabled(unit: object) -> object:
    """A unit that is not enabled without what else it says: clients send all their units, used or not."""
    fields = cast("dict[str, object]", unit) if isinstance(unit, dict) else {}
    return {"enabled": False} if fields.get("enabled") is False else cast("object", unit)


class ControlScript(BaseModel):
    """The arguments of the extension: a unit for the model's one control network, and units of its IP-Adapter."""

    model_config = ConfigDict(extra="forbid")
    args: list[Annotated[ControlUnit, BeforeValidator(_blank_if_disabled)]] = Field(default=[], max_length=MAX_UNITS)


class Scripts(BaseModel):
    """The extensions that a request may use. One whose first argument says that it is off may have any name."""

    model_config = ConfigDict(extra="forbid")
    controlnet: ControlScript | None = Field(
        default=None, validation_alias=AliasChoices("controlnet", "ControlNet", "Controlnet")
    )

    @model_validator(mode="before")
    @classmethod
    def _without_those_that_are_off(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        scripts = cast("dict[str, Any]", given)
        return {name: script for name, script in scripts.items() if not _is_off(script)}


def _is_off(script: Any) -> bool:
    args: object = cast("dict[str, Any]", script).get("args") if isinstance(script, dict) else None
    return isinstance(args, list) and any(each is False for each in cast("list[object]", args)[:1])


@dataclass(frozen=True, slots=True)
class GivenUnit:
    """A unit that is enabled, and its place in the request."""

    unit: ControlUnit
    place: int

    def name(self, field: str) -> str:
        """How the client knows a field of the unit."""
        return f"alwayson_scripts.controlnet.args[{self.place}].{field}"

    @property
    def picture(self) -> str:
        """The unit's picture as a data URL. Raises InvalidRequest if it has none; clients write that as empty text."""
        if not self.unit.image:
            wanted = "a picture to take from" if self.unit.is_reference else "the map: no preprocessors run here"
            raise refuse(self.name("image"), "a unit without a picture", wanted)
        return data_url(self.unit.image)


@dataclass(frozen=True, slots=True)
class Units:
    """The enabled units of a request, by what they give."""

    controls: Sequence[GivenUnit]
    references: Sequence[GivenUnit]

    @classmethod
    def of(cls, scripts: Scripts | None) -> Units:
        """Those of the extensions' arguments."""
        args = [] if scripts is None or scripts.controlnet is None else scripts.controlnet.args
        given = [GivenUnit(unit, place) for place, unit in enumerate(args) if unit.enabled]
        return cls(
            [each for each in given if not each.unit.is_reference], [each for each in given if each.unit.is_reference]
        )

    @property
    def called(self) -> dict[str, str]:
        """The extension's names of our fields."""
        control = (self.controls or [GivenUnit(ControlUnit(), 0)])[0]
        names = {"control_image": "image", "control_scale": "weight"}
        names |= {"control_start": "guidance_start", "control_end": "guidance_end"}
        called = {ours: control.name(theirs) for ours, theirs in names.items()}
        for number, each in enumerate(self.references):
            called[reference_field(number)] = each.name("image")
        if self.references:
            first = self.references[0]
            called |= {"reference_images": first.name("module"), "reference_scale": first.name("weight")}
        return called

    def fields(self, card: ModelCard, warnings: list[str]) -> dict[str, Any]:
        """The fields of our request. Adds to `warnings`. Raises InvalidRequest."""
        return self._control_fields(card, warnings) | self._reference_fields(card, warnings)

    def _control_fields(self, card: ModelCard, warnings: list[str]) -> dict[str, Any]:
        if not self.controls:
            return {}
        control, *more = self.controls
        if more:
            raise refuse(more[0].name("module"), "a second control map", "one: a model has one control network")
        unit = control.unit
        if MODES.get(str(unit.control_mode), unit.control_mode) != 0:
            raise refuse(control.name("control_mode"), repr(unit.control_mode)[:60], "0, 'Balanced'")
        fields = {"control_image": control.picture, "control_scale": unit.weight}
        _warn_of_model(control, card, "control network", warnings)
        if unit.resize_mode not in CROPPED:
            told = "the control picture is cropped to the size, as with 'Crop and Resize'."
            warnings.append(f"{control.name('resize_mode')}: {told}")
        if unit.guidance_start != 0.0:
            fields["control_start"] = unit.guidance_start
        if unit.guidance_end != 1.0:
            fields["control_end"] = unit.guidance_end
        return fields

    def _reference_fields(self, card: ModelCard, warnings: list[str]) -> dict[str, Any]:
        if not self.references:
            return {}
        scale = self.references[0].unit.weight
        for each in self.references:
            unit = each.unit
            if unit.weight != scale:
                told = f"{unit.weight:g} beside {scale:g}"
                raise refuse(each.name("weight"), told, "the same weight in each unit of an IP-Adapter")
            for field, whole in (("guidance_start", 0.0), ("guidance_end", 1.0)):
                if getattr(unit, field) != whole:
                    told = f"{getattr(unit, field):g} with {unit.module}"
                    raise refuse(each.name(field), told, f"{whole:g}: references act in all steps")
            _warn_of_model(each, card, "IP-Adapter", warnings)
        return {"reference_images": [each.picture for each in self.references], "reference_scale": scale}


def _warn_of_model(given: GivenUnit, card: ModelCard, kind: str, warnings: list[str]) -> None:
    named = given.unit.model
    if named not in (None, "None", "none", card.name):
        warnings.append(f"{given.name('model')}: {card.name} uses its own {kind}, not {named!r}.")


def data_url(image: str) -> str:
    """A picture as a data URL. A1111 takes bare base64 as well; which format it is shows in the first characters."""
    if image.startswith("data:"):
        return image
    kinds = {"/9j/": "jpeg", "UklG": "webp"}
    return f"data:image/{kinds.get(image[:4], 'png')};base64,{image}"
