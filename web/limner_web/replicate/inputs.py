"""What a client of Replicate sends for a prediction: body, inputs and headers, turned into our request."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, cast

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.durations import DAY_SECONDS, HOUR_SECONDS
from limner_shared.domain.inputs import MAX_REFERENCES, reference_field
from limner_shared.domain.jobs import MAX_SEED
from limner_shared.domain.predictions import NAMES, OutputForm, OutputInputs
from limner_shared.domain.request_limits import refuse
from limner_shared.domain.webhooks import PredictionEvent, WebhookUrl
from limner_shared.errors import InvalidRequest
from limner_web.fitted_sizes import fitted
from limner_web.replicate import sizes

CALLED: Final = {ours: theirs for theirs, ours in NAMES.items()}
OTHER_NAMES: Final = {
    "controlnet_conditioning_scale": ("control_strength", "condition_scale"),
    "guidance_scale": ("guidance", "cfg"),
    "num_inference_steps": ("steps",),
    "reference_images": ("image_input", "input_images", "image_prompt"),
    "reference_scale": ("image_prompt_strength",),
}
"""What some models call an input: FLUX, Stable Diffusion 3, and models with a control network or reference pictures."""
NEUTRAL: Final[dict[str, tuple[Any, ...]]] = {
    "apply_watermark": (False,),
    "disable_safety_checker": (False,),
    "go_fast": (True, False),  # a card's weights have one precision
    "prompt_upsampling": (False,),
    "raw": (False,),
    "refine": ("no_refiner",),
}
"""Inputs of Replicate's models that no model has here, and the values that ask for nothing."""
REFINING: Final = ("high_noise_frac", "refine_steps")
"""Inputs that only matter beside a `refine` that is refused."""
SCHEDULERS: Final = {
    "DDIM": "DDIMScheduler",
    "DPMSolverMultistep": "DPMSolverMultistepScheduler",
    "HeunDiscrete": "HeunDiscreteScheduler",
    "K_EULER": "EulerDiscreteScheduler",
    "K_EULER_ANCESTRAL": "EulerAncestralDiscreteScheduler",
    "PNDM": "PNDMScheduler",
}
"""Names of schedulers in Replicate's models, and those of diffusers."""
CUSTOM: Final = "custom"
MAX_WAIT_SECONDS: Final = 60
MARGIN_SECONDS: Final = 1.0
"""The time to read the pictures and to send the answer."""
WAIT: Final = re.compile(r"wait(?:=(\d{1,3}))?", re.IGNORECASE)
DURATION: Final = re.compile(r"(?:(\d{1,5})h)?(?:(\d{1,5})m)?(?:(\d{1,6})s?)?", re.IGNORECASE)
MIN_LIFE_SECONDS: Final = 5
MAX_LIFE_SECONDS: Final = DAY_SECONDS


def _named(name: str) -> AliasChoices:
    return AliasChoices(name, *OTHER_NAMES[name])


def _as_list(value: object) -> object:
    """One picture as a list: `image_prompt` is one, and the other names of references are lists."""
    return [value] if isinstance(value, str) else value


class Inputs(OutputInputs):
    """The inputs of a prediction."""

    model_config = ConfigDict(extra="forbid")

    prompt: str
    negative_prompt: str | None = None
    style: str | None = None
    width: int | None = None
    height: int | None = None
    num_outputs: int = Field(default=1, ge=1)
    size: str | None = None
    aspect_ratio: str | None = None
    megapixels: str | float | None = None
    num_inference_steps: int | None = Field(default=None, validation_alias=_named("num_inference_steps"))
    guidance_scale: float | None = Field(default=None, validation_alias=_named("guidance_scale"))
    scheduler: str | None = None
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED)
    image: str | None = None
    mask: str | None = None
    padding_mask_crop: int | None = None
    prompt_strength: float | None = None
    control_image: str | None = None
    controlnet_conditioning_scale: float | None = Field(
        default=None, validation_alias=_named("controlnet_conditioning_scale")
    )
    control_guidance_start: float | None = None
    control_guidance_end: float | None = None
    reference_images: Annotated[tuple[str, ...], BeforeValidator(_as_list)] | None = Field(
        default=None, max_length=MAX_REFERENCES, validation_alias=_named("reference_images")
    )
    reference_scale: float | None = Field(default=None, validation_alias=_named("reference_scale"))
    lora_weights: str | None = None
    lora_scale: float | None = None
    extra_lora: str | None = None
    extra_lora_scale: float | None = None

    @property
    def adapters(self) -> list[dict[str, Any]]:
        """The adapters, by the names that the model's card has for them."""
        pairs = ((self.lora_weights, self.lora_scale), (self.extra_lora, self.extra_lora_scale))
        return [{"name": name, "weight": 1.0 if weight is None else weight} for name, weight in pairs if name]


class NewPrediction(BaseModel):
    """The body of a request for a prediction. Clients send `stream` to have a stream's URL, which is always there."""

    model_config = ConfigDict(extra="forbid")

    version: str | None = None
    input: Inputs
    stream: bool = False
    webhook: WebhookUrl | None = None
    webhook_events_filter: tuple[PredictionEvent, ...] | None = Field(default=None, min_length=1)


def read(body: dict[str, Any]) -> NewPrediction:
    """Read a body. An input that asks for nothing counts as absent. Raises InvalidRequest or ValidationError."""
    given: Any = body.get("input")
    if not isinstance(given, dict):
        return NewPrediction.model_validate(body)
    inputs = {name: value for name, value in cast("dict[str, Any]", given).items() if value is not None}
    for name in inputs.keys() & NEUTRAL.keys():
        value, allowed = inputs.pop(name), NEUTRAL[name]
        if value not in allowed:
            raise refuse(name, repr(value)[:40], [json.dumps(each) for each in allowed])
    for name in REFINING:
        inputs.pop(name, None)
    return NewPrediction.model_validate(body | {"input": inputs})


def job_fields(asked: NewPrediction, card: ModelCard, *, fits: bool = False) -> tuple[dict[str, Any], OutputForm]:
    """The fields of our request, with the form of its pictures in the metadata, and that form.

    `fits` says that pictures are scaled to a size that the card does not have; otherwise, that raises InvalidRequest.
    """
    given = asked.input
    fields = {ours: value for theirs, ours in NAMES.items() if (value := getattr(given, theirs)) is not None}
    if SCHEDULERS.get(given.scheduler or "") in card.schedulers:
        fields["scheduler"] = SCHEDULERS[given.scheduler or ""]
    if given.adapters:
        fields["adapters"] = given.adapters
    size, fit = _size(given, card, fits=fits)
    form = OutputForm(output_format=given.output_format, output_quality=given.output_quality, fit=fit)
    return fields | size | {"model": card.name, "metadata": form.as_metadata()}, form


def called(given: Mapping[str, Any]) -> Mapping[str, str]:
    """The names by which a prediction with these inputs calls our fields."""
    others = {NAMES[name]: other for name, choices in OTHER_NAMES.items() for other in choices if other in given}
    if isinstance(given.get("image_prompt"), str):
        others[reference_field(0)] = "image_prompt"
    return CALLED | {"adapters": "lora_weights"} | others


def _size(given: Inputs, card: ModelCard, *, fits: bool) -> tuple[dict[str, int | str], sizes.Size | None]:
    """The fields for the size, and the size to which the pictures are scaled, if they are.

    The size has a name, or an aspect ratio and megapixels; with the ratio `custom`, width and height are given.
    """
    named, beside = given.size, given.width is not None or given.height is not None
    if named is not None:
        if given.aspect_ratio is not None or beside:
            raise refuse("size", "size beside aspect_ratio, width or height", "one of them")
        size, fit = fitted(card, sizes.read(named)) if fits else ((0, 0), None)
        return ({"size": named} if fit is None else _fields(size)), fit
    ratio = None if given.aspect_ratio == CUSTOM else given.aspect_ratio
    megapixels = None if given.megapixels is None else f"{given.megapixels}"
    if ratio is None and megapixels is None:
        if not fits or given.width is None or given.height is None:
            return {}, None
        size, fit = fitted(card, (given.width, given.height))
    elif beside:
        name = "megapixels" if ratio is None else "aspect_ratio"
        raise refuse(name, f"{name} beside width or height", "one of them")
    else:
        size, fit = sizes.find(card, ratio, megapixels, fits=fits)
    return _fields(size), fit


def _fields(size: sizes.Size) -> dict[str, int | str]:
    return {"width": size[0], "height": size[1]}


def wait_seconds(prefer: str) -> int | None:
    """For how long the `Prefer` header asks to wait, or None. Raises InvalidRequest for a time that is not allowed."""
    for part in prefer.split(","):
        asked = WAIT.fullmatch(part.strip())
        if asked is not None:
            seconds = MAX_WAIT_SECONDS if asked[1] is None else int(asked[1])
            if not 1 <= seconds <= MAX_WAIT_SECONDS:
                raise InvalidRequest(f"Prefer: wait for 1 to {MAX_WAIT_SECONDS} seconds.", field="Prefer")
            return seconds
    return None


def answer_seconds(wait: int) -> float:
    """For how long to wait for a client that asks for `wait` seconds: it reads for hardly longer, and takes a later
    answer for a failure of a prediction that it has to pay.
    """
    return max(wait / 2, wait - MARGIN_SECONDS)


def life_seconds(cancel_after: str | None) -> int | None:
    """The seconds of the `Cancel-After` header (`90`, `90s`, `5m`, `1h30m`), or None without it.

    Raises InvalidRequest.
    """
    if cancel_after is None:
        return None
    found = DURATION.fullmatch(cancel_after.strip())
    hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    life = hours * HOUR_SECONDS + minutes * 60 + seconds
    if not MIN_LIFE_SECONDS <= life <= MAX_LIFE_SECONDS:
        message = "Cancel-After: use a duration from 5s to 24h, such as 90s, 5m or 1h30m."
        raise InvalidRequest(message, field="Cancel-After")
    return life
