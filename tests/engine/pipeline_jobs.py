"""Jobs of tiny diffusers pipelines, run by our engine and by `pipe()`."""

from __future__ import annotations

import functools
import inspect
import threading
import warnings
from collections.abc import Container, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from tests.engine import pipelines

from limner_shared.db.ledger import Claim
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.catalogue import load_card
from limner_shared.domain.jobs import JobRequest, JobSpec, Lane
from limner_shared.errors import LimnerError
from limner_shared.threads import Supervisor
from limner_worker.engine.job_run import JobRun
from limner_worker.engine.loop import Engine
from limner_worker.generators.base import ImageTask, pictures_of
from limner_worker.generators.model_cache import ModelCache

SIGMAS = ["EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "HeunDiscreteScheduler", "UniPCMultistepScheduler"]

FEW_STEPS = ["LCMScheduler", "TCDScheduler", "SASolverScheduler"]

FLOWS = ["FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"]


@dataclass(frozen=True)
class Family:
    """The fields of a family's card beyond the common ones."""

    schedulers: list[str]
    tasks: list[str] = field(default_factory=lambda: ["text-to-image"])
    arguments: dict[str, Any] = field(default_factory=dict[str, Any])
    negative_prompts: bool = True


ALL_TASKS = ["text-to-image", "image-to-image", "inpainting"]

FAMILIES = {
    "stable_diffusion": Family([*SIGMAS, "PNDMScheduler", "EulerAncestralDiscreteScheduler", *FEW_STEPS], ALL_TASKS),
    "stable_diffusion_xl": Family(SIGMAS, ALL_TASKS),
    "stable_diffusion_3": Family(FLOWS, ALL_TASKS, {"max_sequence_length": 32}),
    "flux": Family([], ALL_TASKS, {"max_sequence_length": 32}, negative_prompts=False),
    "pixart": Family(SIGMAS[:2], arguments={"use_resolution_binning": False, "max_sequence_length": 32}),
    "qwen_image": Family([], ALL_TASKS),
    "z_image": Family([], ["text-to-image", "image-to-image"]),
}

CARD = """
name = "tiny"
title = "Tiny"
family = "diffusers"
source = {{ folder = "{family}" }}
sizes = [[32, 32], [64, 32]]
steps = {{ min = 1, max = 50, default = 4 }}
guidance = {{ min = 0.0, max = 20.0, default = 7.5 }}
buckets = [1, 2, 4]
tasks = {tasks}
schedulers = {schedulers}
negative_prompts = {negative_prompts}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pipelines")


def card_of(family: str, folder: Path) -> ModelCard:
    if not (folder / family).exists():
        pipelines.save(family, folder)
    about = FAMILIES[family]
    file = folder / f"{family}.toml"
    text = CARD.format(
        family=family, tasks=about.tasks, schedulers=about.schedulers,
        negative_prompts=str(about.negative_prompts).lower(),
    )  # fmt: skip
    options = "".join(f"{name} = {str(value).lower()}\n" for name, value in about.arguments.items())
    file.write_text(text + (f"[options.arguments]\n{options}" if options else ""))
    return load_card(file)


class Collector:
    """Records every picture; submits the next jobs at each step, so that they join running batches."""

    def __init__(self, jobs: Sequence[JobRun]) -> None:
        self.later = list(jobs)
        self.left = len(self.later)
        self.engine: Engine | None = None
        self.shown: list[np.ndarray] = []
        self.errors: dict[str, LimnerError] = {}
        self.done = threading.Event()

    def progressed(self, job: JobRun) -> None:
        self.more()

    def more(self) -> None:
        some, self.later = self.later[:2], self.later[2:]
        if some and self.engine:
            self.engine.submit(some)

    def previewed(self, job: JobRun, picture: np.ndarray) -> None:
        self.shown.append(picture)

    def checkpointed(self, job: JobRun, index: int, checkpoint: bytes) -> None:
        return

    def generated(self, jobs: Sequence[JobRun]) -> None:
        for job in jobs:
            job.finish()
        self._ended(len(jobs))

    def failed(self, job: JobRun, error: LimnerError) -> None:
        self.errors[job.id] = error
        self._ended(1)

    def unavailable(self, jobs: Sequence[JobRun], reason: str) -> None:
        raise AssertionError(reason)

    def _ended(self, count: int) -> None:
        self.left -= count
        self.more()
        if not self.left:
            self.done.set()


def claimed(spec: JobSpec, name: str) -> JobRun:
    return JobRun(Claim(name, "tenant", None, 1, 2, Lane.NORMAL, spec), lambda: None)


def run(generator: Any, jobs: Sequence[JobRun], **options: Any) -> dict[str, LimnerError]:
    """Run all jobs in an engine, and return the errors of those that failed."""
    heard = Collector(jobs)
    heard.engine = Engine(ModelCache([generator.card], lambda _card: generator), heard, Supervisor(), **options)
    heard.engine.start()
    heard.more()
    assert heard.done.wait(120)
    heard.engine.stop()
    return heard.errors


def pictures(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an input image and a mask."""
    noise = np.random.default_rng(0)
    mask = np.zeros((height, width, 3), np.uint8)
    mask[:, width // 2 :] = 255
    return noise.integers(0, 255, (height, width, 3), np.uint8), mask


def job_of(card: ModelCard, name: str, request: dict[str, Any]) -> JobRun:
    asked = {key: value for key, value in request.items() if key not in ("task", "strength", "padding_mask_crop")}
    spec = card.resolve(JobRequest(**asked, control_image="2" * 64 if card.control else None))
    image, mask = pictures(spec.width, spec.height)
    task = request.get("task", "text-to-image")
    if task != "text-to-image":
        more = {"image": "0" * 64, "strength": request.get("strength", 0.6)} | (
            {"mask": "1" * 64, "padding_mask_crop": request.get("padding_mask_crop")} if task == "inpainting" else {}
        )
        spec = spec.model_copy(update=more)
    job = claimed(spec, name)
    if task != "text-to-image":
        job.rows[0].task.image = image
        job.rows[0].task.mask = mask if task == "inpainting" else None
    if card.control is not None:
        job.rows[0].task.control_image = 255 - np.roll(image, spec.seed, 1)
    return job


def seed_steps(scheduler: Any, generator: torch.Generator) -> None:
    """Let a scheduler draw noise with the request's seed also where its pipeline does not give it a generator."""
    step: Any = scheduler.step
    if "generator" in inspect.signature(step).parameters:

        @functools.wraps(step)
        def seeded(*args: Any, **kwargs: Any) -> Any:
            return step(*args, **{"generator": generator, **kwargs})

        scheduler.step = seeded


def seed_latents(pipe: Any, generator: torch.Generator) -> None:
    """Let a VAE draw latents with the request's seed also where its pipeline does not give it a generator."""
    kind: Any = pipe.__class__
    if "latent_dist.sample()" in inspect.getsource(kind):
        encode = pipe.vae.encode

        def seeded(*args: Any) -> Any:
            output = encode(*args)
            sample: Any = output.latent_dist.sample
            output.latent_dist.sample = functools.partial(sample, generator)
            return output

        pipe.vae.encode = seeded


def choose_scheduler(pipe: Any, name: str) -> None:
    """Set the scheduler of a pipeline and of the pipelines within it."""
    before, chosen = pipe.scheduler, getattr(diffusers, name).from_config(pipe.scheduler.config)
    parts = cast("dict[str, Any]", vars(pipe))
    for part in (pipe, *(part for part in parts.values() if isinstance(part, diffusers.DiffusionPipeline))):
        if part.scheduler is before:
            part.scheduler = chosen


def reference(card: ModelCard, job: JobRun, *, disturbed: int | None = None) -> np.ndarray:
    """Return the picture that diffusers draws for the request alone, called as its documentation says.

    `disturbed`: the seed of changes of the weights' last bits, which show whether the picture depends on rounding.
    """
    spec, task = job.claim.spec, job.rows[0].task
    pipe: Any = cast("Any", diffusers.DiffusionPipeline).from_pretrained(
        str(card.source.folder), dtype=getattr(torch, card.dtype)
    )
    if spec.scheduler:
        choose_scheduler(pipe, spec.scheduler)
    if disturbed is not None:
        disturb(pipe, disturbed)
    # diffusers names no other class for the task: this one does it
    with suppress(ValueError), warnings.catch_warnings(action="ignore", category=FutureWarning):
        if spec.task == "image-to-image":
            pipe = cast("Any", diffusers.AutoPipelineForImage2Image).from_pipe(pipe)
        if spec.task == "inpainting":
            pipe = cast("Any", diffusers.AutoPipelineForInpainting).from_pipe(pipe)
    pipe.set_progress_bar_config(disable=True)
    more: dict[str, Any] = dict(card.options.get("arguments", {}))
    takes = inspect.signature(pipe.__call__).parameters
    if task.image is not None:
        name = "control_image" if "control_mask" in takes else "image"
        more |= {name: Image.fromarray(task.image), "strength": strength_of(pipe, spec)}
    if task.mask is not None:
        more["control_mask" if "control_mask" in takes else "mask_image"] = Image.fromarray(task.mask)
    more |= controlled(takes, task)
    if spec.negative_prompt:
        more["negative_prompt"] = spec.negative_prompt
    if spec.guidance_rescale:
        more["guidance_rescale"] = spec.guidance_rescale
    more |= guided(pipe, spec)
    more |= {"width": spec.width, "height": spec.height, "num_inference_steps": spec.steps, "output_type": "np"}
    if spec.padding_mask_crop is not None:
        more |= {"padding_mask_crop": spec.padding_mask_crop, "output_type": "pil"}
    more["guidance_schedule"] = None
    generator = torch.Generator().manual_seed(spec.seed)
    seed_steps(pipe.scheduler, generator)
    seed_latents(pipe, generator)
    output = pipe(
        prompt=spec.prompt, generator=generator, **{name: value for name, value in more.items() if name in takes}
    )
    picture = next(iter(output.values()))[0]
    return np.asarray(picture, np.float32) / 255 if spec.padding_mask_crop is not None else picture


def disturb(pipe: Any, seed: int) -> None:
    """Change the weights of all modules by their last two bits or so, as other orders of a sum do."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in pipe.components.values():
            for weights in module.parameters() if isinstance(module, torch.nn.Module) else ():
                noise = torch.randn(weights.shape, generator=generator)
                weights.mul_(1 + 4 * torch.finfo(weights.dtype).eps * noise)


def controlled(takes: Container[str], task: ImageTask) -> dict[str, Any]:
    """Return the arguments for a request's control picture."""
    if task.control_image is None:
        return {}
    spec, name = task.spec, "control_image" if "control_image" in takes else "image"
    scale = "adapter_conditioning_scale" if "adapter_conditioning_scale" in takes else "controlnet_conditioning_scale"
    part = {"control_guidance_start": spec.control_start, "control_guidance_end": spec.control_end}
    return {name: Image.fromarray(task.control_image), scale: spec.control_scale, **part}


def strength_of(pipe: Any, spec: JobSpec) -> float | None:
    """Return a request's strength, with which flow matching leaves out at least one step."""
    flow = type(pipe.scheduler).__name__.startswith(("FlowMatch", "SCM")) and spec.task == "image-to-image"
    return min(spec.strength or 0, 0.999 - 1 / spec.steps) if flow else spec.strength


def guided(pipe: Any, spec: JobSpec) -> dict[str, Any]:
    """Return the arguments for a request's guidance, or set it in the pipeline's guiders, which have it instead."""
    takes, config = inspect.signature(pipe.__call__).parameters, getattr(pipe, "transformer", pipe).config
    if "true_cfg_scale" in takes and not config.get("guidance_embeds"):
        # Without a negative prompt these pipelines ignore the guidance; the documentation of Qwen-Image gives a space.
        empty = {"negative_prompt": " "} if spec.guidance > 1 and not spec.negative_prompt else {}
        return {"true_cfg_scale": spec.guidance} | empty
    if "distilled_guidance_scale" in takes:
        for guider in filter(None, (getattr(pipe, name, None) for name in ("guider", "ocr_guider"))):
            guider.guidance_scale = spec.guidance
    name = "guidance_scale" if "guidance_scale" in takes else "prior_guidance_scale"
    return {name: spec.guidance, "max_area": spec.width * spec.height}


def finish(generator: Any, states: Sequence[Any]) -> list[np.ndarray]:
    while active := [state for state in states if not state.finished]:
        generator.step(active)
    return pictures_of(generator.decode(states))


def elsewhere(card: ModelCard, folder: Path) -> ModelCard:
    return card.model_copy(update={"source": card.source.model_copy(update={"folder": folder})})
