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
from PIL import Image

from limner_shared.domain.card_fields import DEFAULT_STRENGTH
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.jobs import JobSpec
from limner_shared.errors import GenerationFailed
from limner_worker.generators.base import ImageTask

GUIDANCE: Final = ("guidance_scale", "prior_guidance_scale")
TRUE_GUIDANCE: Final = "true_cfg_scale"
DISTILLED_GUIDANCE: Final = "distilled_guidance_scale"
NOTHING: Final = " "
"""The negative prompt of a request without one, for pipelines that have guidance only with one. The examples of
Qwen-Image use it."""
FULL_STRENGTH: Final = 1.0


@dataclass(frozen=True, slots=True)
class CallArguments:
    """What the call of one pipeline takes of a request."""

    pipeline: str
    takes: frozenset[str]
    """The names of the call's arguments."""
    guidance: str | None
    """The argument for the request's guidance; None if a guider of the pipeline has it, or nothing does."""
    guided: bool
    """Whether guiders of the pipeline take the guidance."""

    fixed: Mapping[str, Any]
    """The card's own arguments, which replace the request's."""

    @classmethod
    def of(cls, pipeline: Any, card: ModelCard) -> CallArguments:
        """Return what a pipeline's call takes. Raises ValueError if the card allows what it would ignore."""
        takes = frozenset(inspect.signature(pipeline.__call__).parameters)
        guidance, fixed = _guidance(pipeline, takes), dict(card.options.get("arguments", {}))
        found = cls(type(pipeline).__name__, takes, guidance, guidance is None and bool(_guiders(pipeline)), fixed)
        found._check(card)
        return found

    def _check(self, card: ModelCard) -> None:
        # With guidance that the denoiser has learned, negative prompts have an effect only beside the other kind.
        learned = TRUE_GUIDANCE in self.takes and self.guidance != TRUE_GUIDANCE and TRUE_GUIDANCE not in self.fixed
        if card.takes_negative_prompts and ("negative_prompt" not in self.takes or learned):
            raise ValueError(f"{self.pipeline} ignores negative prompts: set negative_prompts = false")
        limits = card.guidance
        if self.guidance is None and not self.guided and limits.min < limits.max:
            raise ValueError(f"{self.pipeline} ignores guidance: set min, max and default of guidance to one number")

    def given(self, task: ImageTask) -> dict[str, Any]:
        """Return the arguments of a request. Raises GenerationFailed for a field that the pipeline would ignore."""
        spec = task.spec
        self._refuse_ignored(spec)
        needs_negative = self.guidance == TRUE_GUIDANCE and spec.guidance > 1
        given = {
            "prompt": spec.prompt,
            "negative_prompt": spec.negative_prompt or (NOTHING if needs_negative else None),
            "width": spec.width,
            "height": spec.height,
            "max_area": spec.width * spec.height,  # some draw this area, whatever width and height are
            "num_inference_steps": spec.steps,
            self.guidance: spec.guidance,
            "guidance_rescale": spec.guidance_rescale,
            "generator": torch.Generator("cpu").manual_seed(task.seed),
            "output_type": "np",
            "image": None if task.image is None else Image.fromarray(task.image),
            "mask_image": None if task.mask is None else Image.fromarray(task.mask),
            "strength": spec.strength,
        }
        arguments: dict[str, Any] = {
            name: value for name, value in given.items() if name in self.takes and value is not None
        }
        if "guidance_schedule" in self.takes:  # its default, which excludes the request's guidance
            arguments["guidance_schedule"] = None
        return {**arguments, **self.fixed}

    def guide(self, own: Any, spec: JobSpec) -> None:
        """Set the request's guidance in the guiders of an image's own pipeline, if they take it."""
        if self.guided:
            for guider in _guiders(own):
                guider.guidance_scale = spec.guidance

    def _refuse_ignored(self, spec: JobSpec) -> None:
        strength = spec.strength not in (None, DEFAULT_STRENGTH, FULL_STRENGTH)
        ignored = {"guidance_rescale": spec.guidance_rescale > 0, "strength": strength}
        for field, asked in ignored.items():
            if asked and field not in self.takes:
                raise GenerationFailed(f"{field}: this model ({self.pipeline}) does not take it.")


def _guidance(pipeline: Any, takes: frozenset[str]) -> str | None:
    """The argument for classifier-free guidance, which some pipelines have in addition to distilled guidance."""
    config = getattr(getattr(pipeline, "transformer", None), "config", None)
    distilled = getattr(config, "guidance_embeds", None)
    if distilled is False and TRUE_GUIDANCE in takes:
        return TRUE_GUIDANCE
    if distilled and DISTILLED_GUIDANCE in takes:
        return DISTILLED_GUIDANCE
    return next((name for name in GUIDANCE if name in takes), None)


def _guiders(pipeline: Any) -> list[Any]:
    parts = cast("dict[str, Any]", vars(pipeline))
    guiders: list[Any] = [each for each in parts.values() if isinstance(each, BaseGuidance)]
    return [each for each in guiders if hasattr(each, "guidance_scale")]
