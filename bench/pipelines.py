"""Time that the host spends on a diffusers pipeline's images beside the work of its modules.

    python -m bench.pipelines [--quick]

Pipelines with the module tree of Stable Diffusion 1.5, SDXL, SD 3 and FLUX, but a few channels wide, and with a
denoiser that returns its input at once. What remains is paid serially for each image on the engine's thread: the
pipeline's own code, the scheduler, the switches between images, joining and splitting of calls.
Step: processor time for each image and step in batches of 8. Start: processor time from a request to the image's first
denoiser call, with a cached text. Own code: processor time of a step of the same pipeline called directly for one
image, with the same denoiser: each image runs this code, so no batching saves it. Each round measures every pipeline
once; figures are medians over the rounds.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final, cast

import click
import torch
from diffusers.models.modeling_utils import ModelMixin
from tests.engine import pipelines
from torch import Tensor

from bench.common import begin, report, summary
from limner_shared.domain.catalogue import load_card
from limner_shared.domain.jobs import JobRequest
from limner_worker.generators.diffusers.pipeline import DiffusersPipeline

STEP_GOAL_MS, START_GOAL_MS = 0.05, 1.0
BATCH: Final = 8
CARD: Final = """
name = "tiny"
title = "Tiny"
family = "diffusers"
source = {{ folder = "{family}" }}
sizes = [[64, 64]]
steps = {{ min = 1, max = 100, default = {steps} }}
guidance = {{ min = 0.0, max = 20.0, default = 7.5 }}
buckets = [1, 8]
schedulers = {schedulers}
{options}
"""


@dataclass(frozen=True)
class Shape:
    """A pipeline to measure: a tiny one of the tests, deepened to the module tree of a real one."""

    deeper: dict[str, dict[str, Any]]
    """Changes of the modules' configurations, by component; the denoiser comes first."""
    schedulers: tuple[str, ...] = ()
    options: str = ""


def _unet(*transformer_layers: int) -> dict[str, Any]:
    """A UNet's blocks, from the outermost: the layers of each block's transformers, 0 for a block without attention."""
    down = tuple("CrossAttnDownBlock2D" if layers else "DownBlock2D" for layers in transformer_layers)
    return {
        "block_out_channels": (8,) * len(down),
        "layers_per_block": 2,
        "down_block_types": down,
        "up_block_types": tuple(each.replace("Down", "Up") for each in reversed(down)),
        "transformer_layers_per_block": tuple(max(1, layers) for layers in transformer_layers),
    }


TEXT_LENGTH: Final = "[options.arguments]\nmax_sequence_length = 32"
CLIP, OPEN_CLIP, T5 = {"num_hidden_layers": 12}, {"num_hidden_layers": 32}, {"num_layers": 24}
SHAPES: Final = {
    "stable_diffusion": Shape(
        {"unet": _unet(1, 1, 1, 0), "text_encoder": CLIP},
        schedulers=("DPMSolverMultistepScheduler", "UniPCMultistepScheduler"),
    ),
    "stable_diffusion_xl": Shape({"unet": _unet(0, 2, 10), "text_encoder": CLIP, "text_encoder_2": OPEN_CLIP}),
    "stable_diffusion_3": Shape(
        {"transformer": {"num_layers": 24}, "text_encoder": CLIP, "text_encoder_2": OPEN_CLIP, "text_encoder_3": T5},
        options=TEXT_LENGTH,
    ),
    "flux": Shape(
        {"transformer": {"num_layers": 19, "num_single_layers": 38}, "text_encoder": CLIP, "text_encoder_2": T5},
        options=f"negative_prompts = false\n{TEXT_LENGTH}",
    ),
}


def load(name: str, shape: Shape, folder: Path, steps: int) -> DiffusersPipeline:
    """Save the pipeline, load it as a card's pipeline, and replace its denoiser's work by its input."""
    pipeline: Any = getattr(pipelines, name)(folder / "tokenizers" / name)
    for component, changes in shape.deeper.items():
        pipeline.register_modules(**{component: _deepened(getattr(pipeline, component), changes)})
    pipeline.save_pretrained(folder / name)
    file = folder / f"{name}.toml"
    file.write_text(
        CARD.format(family=name, steps=steps, schedulers=list(shape.schedulers), options=shape.options),
        encoding="utf-8",
    )
    generator = DiffusersPipeline(load_card(file), "cpu", cache_bytes=1 << 20)
    denoiser = next(iter(shape.deeper))
    first = "sample" if denoiser == "unet" else "hidden_states"
    functions: dict[str, Any] = vars(generator)["_functions"]  # no public way to make a model do nothing

    def nothing(**arguments: Tensor) -> tuple[Tensor]:
        return (arguments[first],)

    functions[f"{denoiser}.forward"] = nothing
    return generator


def _deepened(module: Any, changes: dict[str, Any]) -> Any:
    """A module of the same class with a changed configuration."""
    if isinstance(module, ModelMixin):
        return cast("Any", type(module)).from_config({**module.config, **changes})
    module.config.update(changes)
    return type(module)(module.config)


def measure(generator: DiffusersPipeline, scheduler: str | None, steps: int) -> tuple[float, float]:
    """Return the milliseconds of processor time of a start, and of a step, for each of BATCH images."""
    spec = generator.card.resolve(JobRequest(prompt="a cat", steps=steps, scheduler=scheduler))
    started = time.process_time()
    images = begin(generator, [spec] * BATCH)
    ready = time.process_time()
    done = 0
    while not all(image.finished for image in images):
        generator.step(images)
        done += 1
    ended = time.process_time()
    for image in images:
        if image.error is not None:
            raise image.error
        image.close()
    return (ready - started) * 1000 / BATCH, (ended - ready) * 1000 / BATCH / done


def measure_alone(generator: DiffusersPipeline, denoiser: str, steps: int) -> float:
    """Return the milliseconds of processor time between two denoiser calls of the pipeline called directly."""
    called: list[float] = []

    def nothing(*positional: Tensor, **named: Tensor) -> tuple[Tensor]:
        called.append(time.process_time())
        return (positional[0] if positional else named["hidden_states"],)

    module = getattr(generator.pipeline, denoiser)
    tapped, module.forward = module.forward, nothing
    try:
        with torch.inference_mode():
            arguments = generator.card.options.get("arguments", {})
            generator.pipeline(
                "a cat", num_inference_steps=steps, width=64, height=64, output_type="latent", **arguments
            )
    finally:
        module.forward = tapped
    return (called[-1] - called[0]) * 1000 / (len(called) - 1)


@click.command()
@click.option("--quick", is_flag=True, help="Fewer rounds, under 50 s.")
def main(quick: bool) -> None:
    """Measure, and print the figures."""
    rounds, steps = (3, 20) if quick else (15, 50)
    torch.set_num_threads(1)
    starts: dict[str, list[float]] = {}
    each_step: dict[str, list[float]] = {}
    alone: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="limner-bench-") as folder:
        loaded = {name: load(name, shape, Path(folder), steps) for name, shape in SHAPES.items()}
        for number in range(rounds + 1):  # the first one fills caches
            for name, shape in SHAPES.items():
                own = measure_alone(loaded[name], next(iter(shape.deeper)), steps)
                if number:
                    alone.setdefault(name, []).append(own)
                for scheduler in (None, *shape.schedulers):
                    start, step = measure(loaded[name], scheduler, steps)
                    what = f"{name}, {scheduler.removesuffix('MultistepScheduler')}" if scheduler else name
                    if number:
                        starts.setdefault(what, []).append(start)
                        each_step.setdefault(what, []).append(step)
    figures = {
        "start_ms": {name: summary(samples) for name, samples in starts.items()},
        "row_step_ms": {name: summary(samples) for name, samples in each_step.items()},
        "own_code_ms": {name: summary(samples) for name, samples in alone.items()},
    }
    met = all(median(samples) <= STEP_GOAL_MS for samples in each_step.values()) and all(
        median(samples) <= START_GOAL_MS for samples in starts.values()
    )
    goal = f"at most {STEP_GOAL_MS} ms a step of an image in a batch of {BATCH}, at most {START_GOAL_MS} ms a start"
    report("pipelines", figures, goal, met=met, bars=each_step, unit="milliseconds a step of an image")


if __name__ == "__main__":
    main()
