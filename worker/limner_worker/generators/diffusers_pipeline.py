"""Any text-to-image pipeline of diffusers, as a whole call: jobs of equal size, steps and guidance share a call."""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline

from limner_shared.cards import ModelCard
from limner_shared.errors import CardError
from limner_shared.jobs import JobSpec
from limner_worker.generators.base import Picture, bucket_for, locate


@dataclass(eq=False, slots=True)
class PipelineState:
    """One image before or after the call."""

    spec: JobSpec
    seed: int
    steps_done: int = 0
    picture: Picture | None = None


class DiffusersPipeline:
    """`DiffusionPipeline.from_pretrained` of the card's source: Stable Diffusion, SDXL, SD3, FLUX, PixArt and others.

    Each image's noise comes from a generator of its own on the CPU, seeded by the image, so that it does not depend
    on the batch it is made in. Weights are read as safetensors only, and no code of a repository is run.
    """

    def __init__(self, card: ModelCard, device: str) -> None:
        """Load the pipeline. Raises CardError with the reason."""
        self.card = card
        self.device = device
        name = card.source.hub or str(locate(card.source))
        try:
            self.pipeline: Any = DiffusionPipeline.from_pretrained(
                name,
                revision=card.source.revision,
                dtype=getattr(torch, card.dtype),
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=card.source.hub is None,
            ).to(device)
        except (OSError, ValueError, ImportError) as error:
            raise CardError(f"{card.name}: {name} does not load: {error}") from error
        self.pipeline.set_progress_bar_config(disable=True)
        self._takes = set(inspect.signature(self.pipeline.__call__).parameters)

    def batch_key(self, spec: JobSpec) -> Hashable:
        """A call has one size, one number of steps and one guidance scale."""
        return spec.width, spec.height, spec.steps, spec.guidance

    def start(self, specs: Sequence[tuple[JobSpec, int]]) -> list[PipelineState]:
        """Nothing is computed before the call."""
        return [PipelineState(spec, seed) for spec, seed in specs]

    def step(self, states: Sequence[PipelineState]) -> int:
        """The whole call for all these images."""
        bucket = bucket_for(len(states), self.card.buckets)
        padded = [*states, *[states[0]] * (bucket - len(states))]
        spec = states[0].spec
        arguments = {
            "prompt": [state.spec.prompt for state in padded],
            "negative_prompt": [state.spec.negative_prompt for state in padded],
            "width": spec.width,
            "height": spec.height,
            "num_inference_steps": spec.steps,
            "guidance_scale": spec.guidance,
            "generator": [torch.Generator("cpu").manual_seed(state.seed) for state in padded],
            "output_type": "np",
        }
        # Not every pipeline has negative prompts or guidance; the card's limits say so to the user.
        pictures = self.pipeline(**{key: value for key, value in arguments.items() if key in self._takes}).images
        for state, picture in zip(states, pictures, strict=False):
            state.picture = np.asarray(picture)
            state.steps_done = state.spec.steps
        return bucket

    def decode(self, states: Sequence[PipelineState]) -> list[Picture]:
        """The pictures of the call, float [H, W, 3] in [0, 1] turned to uint8."""
        if not all(state.picture is not None and np.isfinite(state.picture).all() for state in states):
            raise FloatingPointError("the picture is not finite")
        return [(np.clip(state.picture, 0, 1) * 255).round().astype(np.uint8) for state in states]  # type: ignore[arg-type]

    def fingerprint(self) -> dict[str, Any]:
        """The pipeline's source and what ran it."""
        return {
            "pipeline": type(self.pipeline).__name__,
            "source": self.card.source.model_dump(mode="json", exclude_none=True),
            "diffusers": diffusers.__version__,
            "torch": torch.__version__,
            "device": self.device,
            "dtype": self.card.dtype,
            "sampler": type(self.pipeline.scheduler).__name__,
        }
