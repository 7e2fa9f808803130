"""SDXL with its refiner as one pipeline: the base draws the first part of the steps, the refiner the last ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl_img2img import (
    StableDiffusionXLImg2ImgPipeline,
)

SHARED: Final = ("vae", "text_encoder_2", "tokenizer_2", "scheduler")
"""What the refiner has in common with its base, and takes from it."""
DENOISER: Final = "unet_refiner"
"""The component's name; beside the base's `unet`, its calls are a denoiser's too."""


class RefinedPipeline(DiffusionPipeline):
    """A base and a refiner, which share a scheduler and hand over the latents at `switch_at` of the schedule."""

    def __init__(self, base: Any, refiner: Any, switch_at: float) -> None:
        """Both are SDXL's pipelines, for text and for pictures."""
        super().__init__()
        cast("Any", self).register_to_config()  # with nothing: no other pipeline can be made of it
        self.base, self.refiner, self.switch_at = base, refiner, switch_at
        self.scheduler, self.vae, self.image_processor = base.scheduler, base.vae, base.image_processor

    @property
    def components(self) -> dict[str, Any]:
        """The base's components, and the refiner's denoiser."""
        return {**self.base.components, DENOISER: self.refiner.unet}

    def set_progress_bar_config(self, **options: Any) -> None:
        """Set the options of both progress bars."""
        self.base.set_progress_bar_config(**options)
        self.refiner.set_progress_bar_config(**options)

    @torch.no_grad()
    def __call__(
        self,
        prompt: str,
        negative_prompt: str | None = None,
        width: int | None = None,
        height: int | None = None,
        num_inference_steps: int = 50,
        guidance_scale: float = 5.0,
        guidance_rescale: float = 0.0,
        generator: torch.Generator | None = None,
        output_type: str = "pil",
    ) -> Any:
        """Draw as the documentation of diffusers combines the two: `denoising_end`, then `denoising_start`."""
        common: dict[str, Any] = {
            "prompt": prompt, "negative_prompt": negative_prompt, "num_inference_steps": num_inference_steps,
            "guidance_scale": guidance_scale, "guidance_rescale": guidance_rescale, "generator": generator,
        }  # fmt: skip
        size = {"width": width, "height": height}
        drawn = self.base(**common, **size, denoising_end=self.switch_at, output_type="latent")
        return self.refiner(**common, image=drawn.images, denoising_start=self.switch_at, output_type=output_type)


def refined(base: Any, load: Callable[..., Any], folder: Path, switch_at: float) -> RefinedPipeline:
    """Return a base with the refiner that `load` reads from a folder. Raises ValueError if they are not SDXL's."""
    if type(base) is not StableDiffusionXLPipeline:
        raise ValueError(f"refiner: {type(base).__name__} hands no latents to a refiner: only SDXL's pipeline does")
    refiner = load(folder, **{name: getattr(base, name) for name in SHARED})
    if type(refiner) is not StableDiffusionXLImg2ImgPipeline:
        raise ValueError(f"refiner: {type(refiner).__name__} takes no latents of a base: name SDXL's refiner")
    return RefinedPipeline(base, refiner, switch_at)
