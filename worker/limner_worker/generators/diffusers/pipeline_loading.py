"""Loading a card's pipeline, and the arguments with which each request calls it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import torch
from diffusers.pipelines.auto_pipeline import (
    AutoPipelineForImage2Image,
    AutoPipelineForInpainting,
    AutoPipelineForText2Image,
)
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from torch import nn

from limner_shared.domain.card_fields import Source
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.inputs import Task
from limner_shared.domain.jobs import JobSpec
from limner_shared.domain.unsupported import OWN, UnsupportedByModel
from limner_shared.errors import CardError
from limner_worker.generators.base import ImageTask
from limner_worker.generators.device import compilation
from limner_worker.generators.diffusers.call_arguments import CallArguments
from limner_worker.generators.diffusers.module_devices import remember_devices
from limner_worker.generators.diffusers.output_pictures import CHECKER
from limner_worker.generators.diffusers.own_pipeline import (
    SeededVae,
    code_of,
    encodes_unseeded,
    own_pipeline,
    own_scheduler,
)
from limner_worker.generators.diffusers.picture_arguments import check_pictures, picture_arguments
from limner_worker.generators.diffusers.pipeline_checks import check, explain, refused_steps, schedulers
from limner_worker.generators.diffusers.reference_pictures import load_references, remember_encodings
from limner_worker.generators.diffusers.refined_pipeline import refined
from limner_worker.generators.diffusers.text_lengths import ReadTexts, limit_texts
from limner_worker.generators.diffusers.weighted_prompts import check_weights, weigh
from limner_worker.generators.diffusers.weights.adapter_loading import load_adapters
from limner_worker.generators.diffusers.weights.configuration import configuration_hash
from limner_worker.generators.diffusers.weights.hub_files import pipeline_files
from limner_worker.generators.diffusers.weights.loaded_parts import require_complete
from limner_worker.generators.diffusers.weights.weight_files import check_files, convert, refuse_file
from limner_worker.generators.diffusers.weights.weight_variants import files_read
from limner_worker.generators.needed_pictures import needed
from limner_worker.generators.weight_files import locate, require_hashes, weight_hashes

TASKS: Final = {"image-to-image": AutoPipelineForImage2Image, "inpainting": AutoPipelineForInpainting}
SchedulerKey = tuple[str, str | None]
"""A task, and the name of a scheduler; None for the pipeline's own."""


def scheduler_key(spec: JobSpec) -> SchedulerKey:
    """Return which scheduler a request uses."""
    return spec.task, spec.scheduler or None


@dataclass(frozen=True, slots=True)
class LoadedPipeline:
    """A loaded pipeline with its variants for other tasks, which share its modules."""

    card: ModelCard
    pipeline: Any
    pipelines: Mapping[Task, Any]
    """Pipelines by task."""
    calls: Mapping[Task, CallArguments]
    """What the call of each pipeline takes, by task."""
    texts: Mapping[Task, ReadTexts]
    """What the text encoders of each pipeline read, by task."""
    schedulers: Mapping[SchedulerKey, Any]
    """The schedulers that a request may choose.

    Each image gets a copy, which takes a fifth of the time of building a scheduler from its configuration.
    """
    weights: dict[str, str]
    """SHA-256 of each weights file."""
    adapters: dict[str, str]
    """SHA-256 of each adapter's weights."""
    reference: dict[str, str]
    """SHA-256 of the weights files of the IP-Adapter and its encoder; empty without one."""
    configuration: str
    """SHA-256 of what else the pipeline is built from; empty if it all comes from a hub."""

    @classmethod
    def of(cls, card: ModelCard, device: str) -> LoadedPipeline:
        """Load the card's pipeline. Raises CardError with the reason."""
        try:
            pipeline, weights = _read(card, device)
            limit_texts(pipeline.components)
            if card.vae_tiling:
                _tile(pipeline)
            reference = load_references(pipeline, card)
            check(pipeline, card)
            check_weights(pipeline, card)
            config = pipeline.scheduler.config
            kinds: dict[str | None, Any] = {None: pipeline.scheduler.__class__, **schedulers(pipeline, card)}
            pipelines: dict[Task, Any] = {task: _variant(pipeline, task, card) for task in card.tasks}
            calls: dict[Task, CallArguments] = {task: CallArguments.of(each, card) for task, each in pipelines.items()}
            texts: dict[Task, ReadTexts] = {
                task: ReadTexts(each, calls[task].fixed) for task, each in pipelines.items()
            }
            for each in pipelines.values():
                each.set_progress_bar_config(disable=True)
                if reference:
                    remember_encodings(each)
            adapters = load_adapters(pipeline, card)
        except CardError as error:
            raise type(error)(f"{card.name}: {error.message}") from error
        except Exception as error:
            # A library may raise anything over a user's files; the other models must still be served.
            raise CardError(f"{card.name}: {card.source.name} does not load: {explain(error)}") from error
        if card.offload == "none" and card.device_map is None:
            remember_devices(pipeline)
        prepared = {
            (task, name): _corrected(kind.from_config(config), pipeline, task)
            for task in card.tasks
            for name, kind in kinds.items()
        }
        configuration = configuration_hash(card)
        return cls(card, pipeline, pipelines, calls, texts, prepared, weights, adapters, reference, configuration)

    @property
    def casts_its_vae(self) -> bool:
        """Whether the pipeline casts the VAE to float32 around each decode, as SDXL does in float16.

        Every AutoencoderKL has the setting; only the code of some pipelines reads it.
        """
        vae: Any = getattr(self.pipeline, "vae", None)
        upcasts = bool(getattr(getattr(vae, "config", None), "force_upcast", False)) and vae.dtype is torch.float16
        return upcasts and any("force_upcast" in code_of(each) for each in self.pipelines.values())

    @property
    def about(self) -> dict[str, Any]:
        """What the card adds to the pipeline, for receipts; empty where it adds nothing."""
        return {
            "adapters": self.adapters,
            "reference": self.reference,
            "configuration": self.configuration,
            "refiner": self.card.refiner and self.card.refiner.model_dump(mode="json", exclude_none=True),
            "vae_tiling": self.card.vae_tiling,
            **compilation(self.card),
            "offload": self.card.offload if self.card.offload != "none" else "",
            "device_map": self.card.device_map,
            "arguments": self.card.options.get("arguments", {}),
        }

    @property
    def unsupported(self) -> UnsupportedByModel:
        """What the pipelines and schedulers do not take of requests, although the card does not say so."""
        first = self.card.tasks[0]
        found = {
            name or OWN: refused_steps(prepared, self.card.steps)
            for (task, name), prepared in self.schedulers.items()
            if task == first
        }
        return UnsupportedByModel(
            fields={task: call.missing for task, call in self.calls.items() if call.missing},
            steps={name: ranges for name, ranges in found.items() if ranges},
        )

    def call_of(self, task: ImageTask) -> tuple[Any, Any, dict[str, Any]]:
        """Return an image's own pipeline and scheduler, and the arguments of the pipeline's call.

        Raises RequestUnsupported for a field of the request that the pipeline would ignore.
        """
        call = self.calls[task.spec.task]
        arguments = call.given(task)
        scheduler = own_scheduler(self.schedulers[scheduler_key(task.spec)])
        own = own_pipeline(self.pipelines[task.spec.task], scheduler)
        call.guide(own, task.spec)
        weigh(self.card, task.spec, own, arguments)
        task.read_chars = self.texts[task.spec.task].read_chars(arguments["prompt"])
        if encodes_unseeded(own.__class__):
            vars(own)["vae"] = SeededVae(own.vae, arguments["generator"])
        return own, scheduler, arguments


def _tile(pipeline: Any) -> None:
    """Let the VAE decode and encode in tiles what is larger than the pictures it was trained with."""
    vae: Any = getattr(pipeline, "vae", None)
    if not hasattr(vae, "enable_tiling"):
        raise ValueError(f"{type(pipeline).__name__} has no VAE that works in tiles: remove vae_tiling from the card")
    vae.enable_tiling()


def _read(card: ModelCard, device: str) -> tuple[Any, dict[str, str]]:
    """Return the pipeline, with its refiner if it has one, and the SHA-256 of each file of its weights."""
    folder, weights = _files(card.source)
    require_hashes(weights, card.sha256)
    check_files(folder)
    weights = files_read(weights, card.source)
    without: dict[str, Any] = {} if card.safety_checker else {CHECKER: None}
    pipeline = _load(card, device, folder, variant=card.source.variant, **without)
    if card.refiner is not None:
        source = card.refiner.source
        more, refiner_weights = _files(source)
        check_files(more)
        read = files_read(refiner_weights, source)
        weights |= {f"refiner/{name}": digest for name, digest in read.items()}
        load = partial(_load, card, device, variant=source.variant)
        pipeline = refined(pipeline, load, more, card.refiner.switch_at)
    return pipeline, weights


def _files(source: Source) -> tuple[Path, dict[str, str]]:
    """Return the folder of the pipeline's files, and the SHA-256 of each weights file."""
    if source.hub is not None:
        return pipeline_files(source)
    if source.folder is not None:
        refuse_file(source.folder, convert(source.folder))
    folder = locate(source)
    return folder, weight_hashes(folder)


def _variant(pipeline: Any, task: Task, card: ModelCard) -> Any:
    """Return the pipeline that does a task: of the class that diffusers names, or this one if it takes its inputs."""
    variant = pipeline
    if task in TASKS:
        try:
            variant = cast("Any", TASKS[task]).from_pipe(pipeline)
        except ValueError:
            if not picture_arguments(pipeline).keys() >= set(needed(task, card)):
                raise
    check_pictures(variant, task, card)
    return variant


def _corrected(scheduler: Any, pipeline: Any, task: str) -> Any:
    """Return a scheduler after the constructor of a task's pipeline has corrected its configuration.

    Constructors change what does not work with them, such as the first steps of PNDM in inpainting, but only in the
    scheduler that they are given.
    """
    with suppress(ValueError), warnings.catch_warnings():  # diffusers names no class for the task
        warnings.simplefilter("ignore")  # about what is corrected
        cast("Any", TASKS.get(task, AutoPipelineForText2Image)).from_pipe(pipeline, scheduler=scheduler)
    return scheduler


def _load(card: ModelCard, device: str, folder: Path, **given: Any) -> Any:
    """Load a pipeline, with the components that are given instead of its own."""
    pipeline = cast("Any", DiffusionPipeline).from_pretrained(
        str(folder),
        dtype=getattr(torch, card.dtype),
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        device_map=card.device_map,
        **given,
    )
    if card.device_map is not None:
        return pipeline  # accelerate has already placed the modules
    require_complete(pipeline.components)
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
