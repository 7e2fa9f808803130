"""The parameters of `txt2img` and `img2img`: each is honoured, has no effect on the picture, or is refused by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.inputs import RequestedName
from limner_shared.domain.jobs import JobRequest
from limner_shared.domain.picture_urls import MAX_SIDE
from limner_shared.domain.prompt_weights import has_weights
from limner_shared.domain.request_limits import nearest_size, refuse
from limner_shared.errors import InvalidRequest
from limner_web.a1111.control_units import Scripts, Units, data_url
from limner_web.a1111.options import Options, with_changes
from limner_web.a1111.unused_parameters import without_unused
from limner_web.http.problems import renamed
from limner_web.long_texts import within_card

LORA: Final = re.compile(r"<lora:([^:<>]+)((?::[^:<>]*)*)>")
USUAL_SIDE: Final = 512
"""A side that a request leaves out, beside one that the model lacks."""
AUTOMATIC: Final = ("", "automatic", "normal", "use same sampler", "use same scheduler")
"""Names that leave the choice of sampler or schedule to the model."""
NO_STYLE: Final = ("", "None")
"""What clients send in `styles` where their user chose none."""
SAMPLERS: Final = {
    "ddim": "DDIMScheduler",
    "ddpm": "DDPMScheduler",
    "dpm++ 2m": "DPMSolverMultistepScheduler",
    "dpm++ sde": "DPMSolverSDEScheduler",
    "dpm2": "KDPM2DiscreteScheduler",
    "dpm2 a": "KDPM2AncestralDiscreteScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler a": "EulerAncestralDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
    "lcm": "LCMScheduler",
    "lms": "LMSDiscreteScheduler",
    "plms": "PNDMScheduler",
    "unipc": "UniPCMultistepScheduler",
}
"""A1111's names of samplers and the diffusers schedulers that implement them."""

MASK_ONLY: Final = {
    "inpainting_fill": "The masked part is drawn from its original content.",
    "mask_blur": "The edge of the mask is not blurred.",
    "mask_blur_x": None,
    "mask_blur_y": None,
    "mask_round": None,
}
"""Parameters of masks whose defaults this service does not follow, and what the answer then says if there is one."""
WHOLE: Final = "inpaint_full_res: The whole picture is drawn, not only the masked part at full resolution."
CALLED: Final = {
    "adapters": "prompt",
    "guidance": "cfg_scale",
    "image": "init_images",
    "model": "sd_model_checkpoint",
    "n": "batch_size",
    "padding_mask_crop": "inpaint_full_res_padding",
    "strength": "denoising_strength",
    "style": "styles",
}
"""A1111's names of our fields."""


class TextToImage(BaseModel):
    """The supported parameters of `txt2img`. A parameter that is left out or null takes the model's default."""

    model_config = ConfigDict(extra="forbid")

    prompt: str | None = None
    negative_prompt: str | None = None
    styles: list[str] | None = Field(default=None, max_length=10)
    seed: int | None = None
    sampler_name: RequestedName | None = None
    sampler_index: RequestedName | None = None
    scheduler: RequestedName | None = None
    batch_size: int = Field(default=1, ge=1, le=1000)
    n_iter: int = Field(default=1, ge=1, le=1000)
    steps: int | None = None
    cfg_scale: float | None = None
    width: int | None = None
    height: int | None = None
    denoising_strength: float | None = None
    disable_extra_networks: bool = False
    override_settings: dict[str, Any] = Field(default_factory=dict[str, Any])
    send_images: bool = True
    alwayson_scripts: Scripts | None = None


class ImageToImage(TextToImage):
    """The supported parameters of `img2img`."""

    init_images: list[str]
    mask: str | None = None
    denoising_strength: float | None = 0.75
    include_init_images: bool = False
    inpaint_full_res: bool = False
    inpaint_full_res_padding: int = 0


@dataclass(frozen=True, slots=True)
class Generation:
    """What one call asks for."""

    job: JobRequest
    options: Options
    send_images: bool
    include_inputs: bool
    warnings: tuple[str, ...]
    """What was not done as the client's parameters say, though it can be drawn."""
    letterbox: tuple[int, int] | None
    """The size to which the pictures are scaled; None if they stay as they were made."""
    called: Mapping[str, str]
    """The client's names of our fields."""

    def drawn_whole(self) -> Generation:
        """The same without a crop around the mask, which clients ask for by default, and a warning."""
        job = self.job.model_copy(update={"padding_mask_crop": None})
        return replace(self, job=job, warnings=(*self.warnings, WHOLE))


def read(
    body: dict[str, Any], kind: type[TextToImage], options: Options, catalogue: Catalogue, *, fits: bool = False
) -> Generation:
    """The generation that a request body asks for, with the caller's `options` as defaults.

    `fits` says that the pictures are scaled to a size that the model lacks. Raises ValidationError or InvalidRequest,
    which names the parameter as the client does.
    """
    ours = without_unused(body)
    given = kind.model_validate({name: value for name, value in ours.items() if name not in MASK_ONLY})
    options = with_changes(options, given.override_settings, catalogue)
    card = catalogue.get(options.sd_model_checkpoint)
    warnings: list[str] = []
    if isinstance(given, ImageToImage) and given.mask is not None:
        warnings += [f"{name}: {note}" for name, note in MASK_ONLY.items() if note and body.get(name)]
    units = Units.of(given.alwayson_scripts)
    fields, cuts = within_card(_job(given, card, warnings), card)
    fields, letterbox = fields | units.fields(card, warnings), None
    warnings += [f"{told}." for told in cuts]
    if fits and (letterbox := _other_size(given, card)) is not None:
        fields["width"], fields["height"] = nearest_size(card.sizes, *letterbox)
        warnings.append("width, height: {}x{} is not drawn here; the picture was scaled to it.".format(*letterbox))
    called = CALLED | units.called
    try:
        job = JobRequest.model_validate(fields)
    except ValidationError as error:
        raise renamed(error, called) from error
    if not card.prompt_weights and has_weights(job.prompt, job.negative_prompt):
        warnings.append(f"prompt: {card.name} cannot weigh words; it draws them without their weights.")
    include = isinstance(given, ImageToImage) and given.include_init_images
    return Generation(job, options, given.send_images, include, tuple(warnings), letterbox, called)


def _job(given: TextToImage, card: ModelCard, warnings: list[str]) -> dict[str, Any]:
    """The fields of our request. Adds to `warnings`."""
    prompt, adapters = given.prompt or "", list[dict[str, Any]]()
    if not given.disable_extra_networks:
        prompt, adapters = _adapters(prompt)
    own = _own_values(given, card)
    warnings += [f"{name}: {note}" for name, note in own.items()]
    fields: dict[str, Any] = {
        "prompt": prompt,
        "negative_prompt": None if "negative_prompt" in own else given.negative_prompt or None,
        "model": card.name,
        "style": _style(given),
        "width": given.width,
        "height": given.height,
        "steps": None if "steps" in own else given.steps,
        "guidance": None if "cfg_scale" in own else given.cfg_scale,
        "scheduler": _scheduler(given, card, warnings),
        "adapters": adapters,
        "seed": None if given.seed is None or given.seed < 0 else given.seed,
        "n": given.batch_size * given.n_iter,
    }
    if isinstance(given, ImageToImage):
        if len(given.init_images) != 1:
            raise refuse("init_images", f"{len(given.init_images)} pictures", "one picture")
        fields |= {"image": data_url(given.init_images[0]), "strength": given.denoising_strength}
        if given.mask is not None:
            fields |= {"mask": data_url(given.mask)} | _crop(given, card, warnings)
    return fields


def _crop(given: ImageToImage, card: ModelCard, warnings: list[str]) -> dict[str, Any]:
    """How much around the mask is drawn in full size, which the built-in models do not. Adds to `warnings`."""
    if not given.inpaint_full_res:
        return {}
    if card.family != "diffusers":
        warnings.append(WHOLE)
        return {}
    return {"padding_mask_crop": given.inpaint_full_res_padding}


def _other_size(given: TextToImage, card: ModelCard) -> tuple[int, int] | None:
    """The requested size if the model lacks it and a picture may be scaled to it."""
    width, height = given.width, given.height
    if any(width in (each[0], None) and height in (each[1], None) for each in card.sizes):
        return None
    size = (USUAL_SIDE if width is None else width, USUAL_SIDE if height is None else height)
    return size if min(size) >= 1 and max(size) <= MAX_SIDE else None


def _adapters(prompt: str) -> tuple[str, list[dict[str, Any]]]:
    """The prompt without its `<lora:name:weight>` parts, and the adapters that they name."""
    adapters: list[dict[str, Any]] = []
    for name, weights in LORA.findall(prompt):
        weight = weights.split(":")[1] if weights else "1"
        try:
            adapters.append({"name": name, "weight": float(weight)})
        except ValueError as error:
            raise InvalidRequest(f"prompt: the weight {weight!r} of {name} is no number.", field="prompt") from error
    return LORA.sub("", prompt), adapters


def _style(given: TextToImage) -> str | None:
    styles = [style for style in given.styles or () if style not in NO_STYLE]
    if len(styles) > 1:
        raise refuse("styles", f"{len(styles)} styles", "one of the model's styles")
    return styles[0] if styles else None


def _own_values(given: TextToImage, card: ModelCard) -> dict[str, str]:
    """The parameters that ask for what the model cannot vary, each with what the answer says of it.

    Clients send a negative prompt, steps and a guidance scale whether or not their user chose them. Where the model
    leaves no choice, its own value is used; where it has one, a value beyond its limits is refused.
    """
    notes: dict[str, str] = {}
    if (given.negative_prompt or "").strip() and not card.takes_negative_prompts:
        notes["negative_prompt"] = f"{card.name} cannot leave things out, so this had no effect."
    for name, asked, limits in (("steps", given.steps, card.steps), ("cfg_scale", given.cfg_scale, card.guidance)):
        if limits.min == limits.max and asked not in (None, limits.min):
            notes[name] = f"{card.name} always uses {limits.min:g}, not {asked:g}."
    return notes


def _scheduler(given: TextToImage, card: ModelCard, warnings: list[str]) -> str | None:
    """The card's scheduler of the requested sampler, or None for the model's own.

    Clients send a sampler whether or not their user chose one. A model that has only its own uses that one and the
    answer says so; a model that has several refuses a name that is not among them.
    """
    schedule = given.scheduler or ""
    if schedule.casefold() not in AUTOMATIC:
        if card.schedulers:
            raise refuse("scheduler", repr(schedule), ["Automatic"])
        warnings.append(f"scheduler: {card.name} uses its own schedule, not {schedule!r}.")
    name = given.sampler_name or given.sampler_index or ""
    if name.casefold() in AUTOMATIC:
        return None
    for known in (name, SAMPLERS.get(name.casefold())):
        if known in card.schedulers:
            return known
    if card.schedulers:
        raise refuse("sampler_name", repr(name), ["Automatic", *card.schedulers])
    warnings.append(f"sampler_name: {card.name} uses its own sampler, not {name!r}.")
    return None
