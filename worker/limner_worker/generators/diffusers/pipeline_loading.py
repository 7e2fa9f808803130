"""Loading a card's pipeline, and the arguments with which each request calls it."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import torch
from diffusers.pipelines.auto_pipeline import AutoPipelineForImage2Image, AutoPipelineForInpainting
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from PIL import Image
from torch import nn

from limner_shared.domain.card_fields import Source
from limner_shared.domain.cards import ModelCard
from limner_shared.errors import CardError
from limner_worker.generators.base import ImageTask, locate, require_hashes, weight_hashes
from limner_worker.generators.diffusers.adapter_loading import load_adapter
from limner_worker.generators.diffusers.hub_files import pipeline_files
from limner_worker.generators.diffusers.module_devices import remember_devices
from limner_worker.generators.diffusers.own_pipeline import own_pipeline, own_scheduler
from limner_worker.generators.diffusers.pipeline_checks import check, explain, schedulers
from limner_worker.generators.diffusers.weight_files import check_files, refuse_pickle

GUIDANCE: Final = ("guidance_scale", "prior_guidance_scale")
INPUTS: Final = {"image-to-image": {"image"}, "inpainting": {"image", "mask_image"}}
TASKS: Final = {"image-to-image": AutoPipelineForImage2Image, "inpainting": AutoPipelineForInpainting}


@dataclass(frozen=True, slots=True)
class LoadedPipeline:
    """A loaded pipeline with its variants for other tasks, which share its modules."""

    card: ModelCard
    pipeline: Any
    pipelines: Mapping[str, Any]
    """Pipelines by task."""
    parameters: Mapping[str, Collection[str]]
    """The names of the arguments of each pipeline's call, by task."""
    schedulers: Mapping[str | None, Any]
    """The schedulers that a request may choose, by name, and the pipeline's own as None.

    Each image gets a copy, which takes a fifth of the time of building a scheduler from its configuration.
    """
    weights: dict[str, str]
    """SHA-256 of each weights file."""

    @classmethod
    def of(cls, card: ModelCard, device: str) -> LoadedPipeline:
        """Load the card's pipeline. Raises CardError with the reason."""
        try:
            folder, weights = _files(card.source)
            require_hashes(weights, card.sha256)
            check_files(folder)
            pipeline = _load(card, folder, device)
            check(pipeline, card)
            config = pipeline.scheduler.config
            kinds: dict[str | None, Any] = {None: pipeline.scheduler.__class__, **schedulers(pipeline, card)}
            pipelines = {task: _variant(pipeline, task) for task in card.tasks}
            for each in pipelines.values():
                each.set_progress_bar_config(disable=True)
            for name, source in card.adapters.items():
                load_adapter(pipeline, name, source)
        except CardError as error:
            raise type(error)(f"{card.name}: {error.message}") from error
        except Exception as error:
            # A library may raise anything over a user's files; the other models must still be served.
            raise CardError(f"{card.name}: {card.source.name} does not load: {explain(error)}") from error
        if card.offload == "none" and card.device_map is None:
            remember_devices(pipeline)
        parameters = {task: frozenset(inspect.signature(each.__call__).parameters) for task, each in pipelines.items()}
        prepared = {name: kind.from_config(config) for name, kind in kinds.items()}
        return cls(card, pipeline, pipelines, parameters, prepared, weights)

    @property
    def casts_its_vae(self) -> bool:
        """Whether the pipeline casts the VAE to float32 around each decode, as SDXL does in float16.

        Every AutoencoderKL has the setting; only the code of some pipelines reads it.
        """
        vae: Any = getattr(self.pipeline, "vae", None)
        upcasts = bool(getattr(getattr(vae, "config", None), "force_upcast", False)) and vae.dtype is torch.float16
        return upcasts and any("force_upcast" in inspect.getsource(each.__class__) for each in self.pipelines.values())

    def call_of(self, task: ImageTask) -> tuple[Any, Any, dict[str, Any]]:
        """Return an image's own pipeline and scheduler, and the arguments of the pipeline's call."""
        spec = task.spec
        takes = self.parameters[spec.task]  # some pipelines take no negative prompt or mask
        scheduler = own_scheduler(self.schedulers[spec.scheduler or None])
        given = {
            "prompt": spec.prompt,
            "negative_prompt": spec.negative_prompt or None,
            "width": spec.width,
            "height": spec.height,
            "num_inference_steps": spec.steps,
            self._guidance(takes): spec.guidance,
            "guidance_rescale": spec.guidance_rescale,
            "generator": torch.Generator("cpu").manual_seed(task.seed),
            "output_type": "np",
            "image": None if task.image is None else Image.fromarray(task.image),
            "mask_image": None if task.mask is None else Image.fromarray(task.mask),
            "strength": spec.strength,
        }
        arguments: dict[str, Any] = {
            name: value for name, value in given.items() if name in takes and value is not None
        }
        if "guidance_schedule" in takes:  # its default, which excludes the request's guidance
            arguments["guidance_schedule"] = None
        own = own_pipeline(self.pipelines[spec.task], scheduler)
        return own, scheduler, arguments | self.card.options.get("arguments", {})

    def _guidance(self, takes: Collection[str]) -> str:
        """The argument for classifier-free guidance, which some pipelines have in addition to distilled guidance."""
        denoiser = getattr(self.pipeline, "transformer", None)
        distilled = getattr(getattr(denoiser, "config", None), "guidance_embeds", None)
        if distilled is False and "true_cfg_scale" in takes:
            return "true_cfg_scale"
        return next((name for name in GUIDANCE if name in takes), GUIDANCE[0])


def _files(source: Source) -> tuple[Path, dict[str, str]]:
    """Return the folder of the pipeline's files, and the SHA-256 of each weights file."""
    if source.hub is not None:
        return pipeline_files(source)
    if source.folder is not None:
        refuse_pickle(source.folder)
    folder = locate(source)
    return folder, weight_hashes(folder)


def _variant(pipeline: Any, task: str) -> Any:
    """Return the pipeline that does a task: of the class that diffusers names, or this one if it takes its inputs."""
    if task not in TASKS:
        return pipeline
    try:
        return cast("Any", TASKS[task]).from_pipe(pipeline)
    except ValueError:
        if INPUTS[task] <= inspect.signature(pipeline.__call__).parameters.keys():
            return pipeline
        raise


def _load(card: ModelCard, folder: Path, device: str) -> Any:
    pipeline = cast("Any", DiffusionPipeline).from_pretrained(
        str(folder),
        dtype=getattr(torch, card.dtype),
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        device_map=card.device_map,
    )
    if card.device_map is not None:
        return pipeline  # accelerate has already placed the modules
    if card.offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif card.offload == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)
    else:
        pipeline.to(device)
    if device.startswith("cuda"):
        for module in pipeline.components.values():
            if isinstance(module, nn.Module) and any(isinstance(part, nn.Conv2d) for part in module.modules()):
                cast("Any", module).to(memory_format=torch.channels_last)  # torch's types lack this overload
    return pipeline
