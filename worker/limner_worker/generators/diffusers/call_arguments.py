"""The arguments with which a request calls its pipeline. What a pipeline would ignore is refused by name, either with
the card, when it is loaded, or with the request.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import torch
from diffusers.guiders.guider_utils import BaseGuidance
from diffusers.schedulers.scheduling_scm import SCMScheduler
from PIL import Image

from limner_shared.domain.card_fields import Control
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.jobs import JobSpec
from limner_shared.domain.unsupported import FULL_STRENGTH, unsupported_fields
from limner_shared.errors import RequestUnsupported
from limner_worker.generators.base import ImageTask
from limner_worker.generators.diffusers.picture_arguments import END, SCALES, START, picture_arguments
from limner_worker.generators.diffusers.pipeline_checks import FLOWS
from limner_worker.generators.diffusers.reference_pictures import ARGUMENT, picture_argument, with_references

GUIDANCE: Final = ("guidance_scale", "prior_guidance_scale")
TRUE_GUIDANCE: Final = "true_cfg_scale"
DISTILLED_GUIDANCE: Final = "distilled_guidance_scale"
NOTHING: Final = " "
"""The negative prompt of a request without one, for pipelines that have guidance only with one. The examples of
Qwen-Image use it."""
CROP: Final = "padding_mask_crop"
OPTIONAL: Final = ("guidance_rescale", "strength", CROP)
"""Fields of requests that not every pipeline takes, and no card describes."""
ROUNDING: Final = 1e-9
"""More than what floating-point numbers lose of the number of steps."""
FROM_NOISE: Final = (*FLOWS, SCMScheduler)
STEPS: Final = "num_inference_steps"
ENGINES: Final = frozenset(
    {"prompt", "image", "mask_image", "control_image", "control_mask", "width", "height", "generator", "output_type"}
    | {"return_dict"}
)
"""Arguments that each request or the engine gives, so that a card must not."""
IP_ADAPTER: Final = "ip_adapter"
"""Part of the names of arguments for the pictures of an IP-Adapter, of which a pipeline without one may ignore some."""


@dataclass(frozen=True, slots=True)
class CallArguments:
    """What the call of one pipeline takes of a request."""

    pipeline: str
    takes: frozenset[str]
    """The names of the call's arguments, without those that the card fixes."""
    pictures: Mapping[str, str]
    """The arguments for the pictures of a request, by their fields."""
    guidance: str | None
    """The argument for the request's guidance; None if a guider of the pipeline has it, or nothing does."""
    guided: bool
    """Whether guiders of the pipeline take the guidance."""
    fixed: Mapping[str, Any]
    """The card's own arguments, which requests cannot change."""
    from_noise: bool
    """Whether a schedule from its beginning starts from noise alone, as those of flow matching do."""

    referenced: bool
    """Whether the pipeline has an IP-Adapter, which needs a picture in each call."""

    @classmethod
    def of(cls, pipeline: Any, card: ModelCard) -> CallArguments:
        """Return what a pipeline's call takes. Raises ValueError if the card allows what it would ignore."""
        parameters = frozenset(inspect.signature(pipeline.__call__).parameters)
        fixed, name = dict(card.options.get("arguments", {})), type(pipeline).__name__
        if unknown := card.options.keys() - {"arguments"}:
            raise ValueError(f"options: {', '.join(sorted(unknown))}: this family has `arguments` only")
        _check_fixed(fixed, parameters, name)
        guidance, takes = _guidance(pipeline, parameters), parameters - fixed.keys()
        guided = guidance is None and bool(_guiders(pipeline))
        from_noise = isinstance(getattr(pipeline, "scheduler", None), FROM_NOISE)
        pictures, one = picture_arguments(pipeline), guidance if guidance in takes else None
        referenced = card.reference is not None and card.reference.adapter is not None
        if referenced and ARGUMENT not in takes:
            raise ValueError(f"{name} takes no reference pictures: leave its task out of tasks")
        if card.reference is not None and not referenced and "image" not in pictures:
            raise ValueError(f"{name} takes no pictures: remove reference from the card")
        found = cls(name, takes, pictures, one, guided, fixed, from_noise, referenced)
        found._check(card, learned=TRUE_GUIDANCE in parameters and guidance != TRUE_GUIDANCE)
        return found

    def _check(self, card: ModelCard, *, learned: bool) -> None:
        """`learned`: with guidance that the denoiser has learned, negative prompts need the other kind beside it."""
        for field, argument in {"prompts": "prompt", "seeds": "generator"}.items():
            if argument not in self.takes:
                raise ValueError(f"{self.pipeline} takes no {field}, which every request gives")
        no_effect = learned and TRUE_GUIDANCE not in self.fixed
        if card.takes_negative_prompts and ("negative_prompt" not in self.takes or no_effect):
            raise ValueError(f"{self.pipeline} ignores negative prompts: set negative_prompts = false")
        taken = {"guidance": self.guidance is not None or self.guided, "steps": STEPS in self.takes}
        for field, limits in {"guidance": card.guidance, "steps": card.steps}.items():
            if limits.min < limits.max and not taken[field]:
                ignored = f"{self.pipeline} with this card's arguments ignores {field}"
                raise ValueError(f"{ignored}: set min, max and default of {field} to one number")
        if card.control is not None:
            self._check_control(card.control)

    def _check_control(self, control: Control) -> None:
        if control.scale.min < control.scale.max and not self.takes.intersection(SCALES):
            ignored = f"{self.pipeline} with this card's arguments ignores control_scale"
            raise ValueError(f"{ignored}: set min, max and default of control.scale to one number")
        if control.interval and not self.takes.issuperset((START, END)):
            raise ValueError(f"{self.pipeline} follows the control picture in all steps: set control.interval = false")

    def given(self, task: ImageTask) -> dict[str, Any]:
        """Return the arguments of a request. Raises RequestUnsupported for a field that the pipeline would ignore."""
        spec = task.spec
        self._require_supported(spec)
        needs_negative = self.guidance == TRUE_GUIDANCE and spec.guidance > 1
        given = {
            "prompt": spec.prompt,
            "negative_prompt": spec.negative_prompt or (NOTHING if needs_negative else None),
            "width": spec.width,
            "height": spec.height,
            "max_area": spec.width * spec.height,  # some draw this area, whatever width and height are
            STEPS: spec.steps,
            self.guidance: spec.guidance,
            "guidance_rescale": spec.guidance_rescale,
            "generator": torch.Generator("cpu").manual_seed(task.seed),
            # Pipelines put the part that they have drawn into pictures of Pillow only.
            "output_type": "np" if spec.padding_mask_crop is None else "pil",
            CROP: spec.padding_mask_crop,
            "strength": self._strength(spec),
            **dict.fromkeys(SCALES, spec.control_scale),
            START: spec.control_start if spec.control_image else None,
            END: spec.control_end if spec.control_image else None,
            **self._pictures(task),
            **(picture_argument(task.reference_images) if self.referenced else {}),
        }
        arguments: dict[str, Any] = {
            name: value for name, value in given.items() if name in self.takes and value is not None
        }
        if "guidance_schedule" in self.takes:  # its default, which excludes the request's guidance
            arguments["guidance_schedule"] = None
        return {**arguments, **self.fixed}

    def _pictures(self, task: ImageTask) -> dict[str, Any]:
        pixels = {name: getattr(task, field) for field, name in self.pictures.items()}
        given = {name: Image.fromarray(each) for name, each in pixels.items() if each is not None}
        if self.referenced or not task.reference_images:
            return given
        name = self.pictures["image"]
        return given | {name: with_references(given.get(name), task.reference_images)}

    def _strength(self, spec: JobSpec) -> float | None:
        """The strength of a request; below 1 it leaves out at least one step.

        Otherwise 0.8 of four steps would be all four in pipelines of flow matching, and nothing of the picture is left
        in the noise from which they start.
        """
        strength = spec.strength
        if (
            self.from_noise
            and spec.task == "image-to-image"
            and spec.steps > 1
            and strength not in (None, FULL_STRENGTH)
        ):
            return min(strength, 1 - (1 + ROUNDING) / spec.steps)
        return strength

    @property
    def missing(self) -> tuple[str, ...]:
        """The optional fields of requests that the call has no argument for."""
        return tuple(field for field in OPTIONAL if field not in self.takes)

    def guide(self, own: Any, spec: JobSpec) -> None:
        """Set the request's guidance in the guiders of an image's own pipeline, if they take it."""
        if self.guided:
            for guider in _guiders(own):
                guider.guidance_scale = spec.guidance

    def _require_supported(self, spec: JobSpec) -> None:
        for field in unsupported_fields(spec, self.missing):
            raise RequestUnsupported(f"{field}: this model ({self.pipeline}) does not take it.")


def _check_fixed(fixed: Mapping[str, Any], parameters: frozenset[str], pipeline: str) -> None:
    """Raise ValueError for an argument of the card that the call would ignore, or that is not the card's to give."""
    for name in fixed:
        if IP_ADAPTER in name:
            raise ValueError(f"options.arguments: {name} is given by requests: name the IP-Adapter in [reference]")
        if name in ENGINES:
            raise ValueError(f"options.arguments: {name} is given by requests or the engine: leave it out")
        if name not in parameters:  # some calls take any name, and ignore what they do not know
            raise ValueError(f"options.arguments: {pipeline} takes no {name}")


def _guidance(pipeline: Any, takes: frozenset[str]) -> str | None:
    """The argument for classifier-free guidance, which some pipelines have in addition to distilled guidance."""
    config = getattr(getattr(pipeline, "transformer", None), "config", None)
    distilled = getattr(config, "guidance_embeds", None)
    only_true = distilled is None and not takes.intersection(GUIDANCE)  # as Qwen-Image 2.1, whose denoiser learns none
    if TRUE_GUIDANCE in takes and (distilled is False or only_true):
        return TRUE_GUIDANCE
    if distilled and DISTILLED_GUIDANCE in takes:
        return DISTILLED_GUIDANCE
    return next((name for name in GUIDANCE if name in takes), None)


def _guiders(pipeline: Any) -> list[Any]:
    parts = cast("dict[str, Any]", vars(pipeline))
    guiders: list[Any] = [each for each in parts.values() if isinstance(each, BaseGuidance)]
    return [each for each in guiders if hasattr(each, "guidance_scale")]
