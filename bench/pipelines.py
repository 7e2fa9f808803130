"""Time that the host spends on a diffusers pipeline's images beside the work of its modules.

    python -m bench.pipelines [--quick]

Pipelines with the module tree of Stable Diffusion 1.5, SDXL, SD 3 and FLUX, but a few channels wide, and with a
denoiser that returns its input at once. What remains is paid serially for each image on the engine's thread: the
pipeline's own code, the scheduler, the switches between images, joining and splitting of calls.
Step: processor time for each image and step in batches of 8. Start: processor time from a request to the image's first
denoiser call, with a cached text. Each round measures every pipeline once; figures are medians over the rounds.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import click
import diffusers
import torch
import transformers
from tests.engine.pipelines import clip_tokenizer, t5_tokenizer, vae

from bench.common import begin, report, summary
from limner_shared.domain.cards import load_card
from limner_shared.domain.jobs import JobRequest
from limner_worker.generators.diffusers.pipeline import DiffusersPipeline

d: Any = diffusers  # their classes are exported lazily, without types
t: Any = transformers

STEP_GOAL_MS, START_GOAL_MS = 0.05, 1.0
BATCH = 8
CARD = """
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


def clip(layers: int, *, projection: bool = False) -> Any:
    """Return a narrow CLIP text encoder."""
    config = t.CLIPTextConfig(
        vocab_size=200, hidden_size=16, intermediate_size=16, num_hidden_layers=layers, num_attention_heads=2,
        max_position_embeddings=16, bos_token_id=0, eos_token_id=1, pad_token_id=1, projection_dim=16,
    )  # fmt: skip
    return t.CLIPTextModelWithProjection(config) if projection else t.CLIPTextModel(config)


def t5(width: int) -> Any:
    """Return a narrow T5 encoder of T5-XXL's depth."""
    config = t.T5Config(vocab_size=200, d_model=width, d_ff=16, d_kv=8, num_heads=2, num_layers=24)
    return t.T5EncoderModel(config)


def unet(transformer_layers: tuple[int, ...], **more: Any) -> Any:
    """Return a narrow UNet with a cross-attention block for each number of layers, from the outermost; 0 for none."""
    down = tuple("CrossAttnDownBlock2D" if layers else "DownBlock2D" for layers in transformer_layers)
    up = tuple("CrossAttnUpBlock2D" if layers else "UpBlock2D" for layers in reversed(transformer_layers))
    return d.UNet2DConditionModel(
        sample_size=8, block_out_channels=(8,) * len(down), layers_per_block=2, norm_num_groups=4, attention_head_dim=4,
        down_block_types=down, up_block_types=up,
        transformer_layers_per_block=tuple(max(1, layers) for layers in transformer_layers),
        **{"cross_attention_dim": 16} | more,
    )  # fmt: skip


def stable_diffusion(folder: Path) -> Any:
    """Return a pipeline with the module tree of Stable Diffusion 1.5."""
    return d.StableDiffusionPipeline(
        text_encoder=clip(12), tokenizer=clip_tokenizer(folder), unet=unet((1, 1, 1, 0)), vae=vae(),
        scheduler=d.DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def stable_diffusion_xl(folder: Path) -> Any:
    """Return a pipeline with the module tree of SDXL."""
    return d.StableDiffusionXLPipeline(
        text_encoder=clip(12), tokenizer=clip_tokenizer(folder / "1"), text_encoder_2=clip(32, projection=True),
        tokenizer_2=clip_tokenizer(folder / "2"), vae=vae(), scheduler=d.EulerDiscreteScheduler(),
        unet=unet(
            (0, 2, 10), cross_attention_dim=32, addition_embed_type="text_time", addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 16, use_linear_projection=True,
        ),
    )  # fmt: skip


def stable_diffusion_3(folder: Path) -> Any:
    """Return a pipeline with the module tree of Stable Diffusion 3."""
    return d.StableDiffusion3Pipeline(
        text_encoder=clip(12, projection=True), tokenizer=clip_tokenizer(folder / "1"),
        text_encoder_2=clip(32, projection=True), tokenizer_2=clip_tokenizer(folder / "2"),
        text_encoder_3=t5(32), tokenizer_3=t5_tokenizer(),
        transformer=d.SD3Transformer2DModel(
            sample_size=16, patch_size=1, in_channels=16, num_layers=24, attention_head_dim=8, num_attention_heads=2,
            caption_projection_dim=16, joint_attention_dim=32, pooled_projection_dim=32, out_channels=16,
        ),
        vae=vae(16, shift_factor=0.06, scaling_factor=1.5), scheduler=d.FlowMatchEulerDiscreteScheduler(),
    )  # fmt: skip


def flux(folder: Path) -> Any:
    """Return a pipeline with the module tree of FLUX."""
    return d.FluxPipeline(
        text_encoder=clip(12), tokenizer=clip_tokenizer(folder), text_encoder_2=t5(16), tokenizer_2=t5_tokenizer(),
        transformer=d.FluxTransformer2DModel(
            patch_size=1, in_channels=16, num_layers=19, num_single_layers=38, attention_head_dim=16,
            num_attention_heads=1, joint_attention_dim=16, pooled_projection_dim=16, axes_dims_rope=(4, 4, 8),
            guidance_embeds=True,
        ),
        vae=vae(shift_factor=0.06, scaling_factor=1.5), scheduler=d.FlowMatchEulerDiscreteScheduler(),
    )  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """A pipeline to measure."""

    build: Callable[[Path], Any]
    denoiser: str = "unet"
    schedulers: tuple[str, ...] = ()
    options: str = ""


TEXT_LENGTH = "[options.arguments]\nmax_sequence_length = 32"
SHAPES = {
    "sd": Shape(stable_diffusion, schedulers=("DPMSolverMultistepScheduler", "UniPCMultistepScheduler")),
    "sdxl": Shape(stable_diffusion_xl),
    "sd3": Shape(stable_diffusion_3, "transformer", options=TEXT_LENGTH),
    "flux": Shape(flux, "transformer", options=TEXT_LENGTH),
}


def load(name: str, shape: Shape, folder: Path, steps: int) -> DiffusersPipeline:
    """Save the pipeline, load it as a card's pipeline, and replace its denoiser's work by its input."""
    shape.build(folder / "tokenizers" / name).save_pretrained(folder / name)
    file = folder / f"{name}.toml"
    file.write_text(
        CARD.format(family=name, steps=steps, schedulers=list(shape.schedulers), options=shape.options),
        encoding="utf-8",
    )
    generator = DiffusersPipeline(load_card(file), "cpu", cache_bytes=1 << 20)
    first = "sample" if shape.denoiser == "unet" else "hidden_states"
    functions: dict[str, Any] = vars(generator)["_functions"]  # no public way to make a model do nothing
    functions[f"{shape.denoiser}.forward"] = lambda **arguments: (arguments[first],)
    return generator


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


@click.command()
@click.option("--quick", is_flag=True, help="Fewer rounds, under 50 s.")
def main(quick: bool) -> None:
    """Measure, and print the figures."""
    rounds, steps = (3, 20) if quick else (15, 50)
    torch.set_num_threads(1)
    starts: dict[str, list[float]] = {}
    each_step: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="limner-bench-") as folder:
        loaded = {name: load(name, shape, Path(folder), steps) for name, shape in SHAPES.items()}
        for number in range(rounds + 1):  # the first one fills caches
            for name, shape in SHAPES.items():
                for scheduler in (None, *shape.schedulers):
                    start, step = measure(loaded[name], scheduler, steps)
                    what = f"{name}, {scheduler.removesuffix('MultistepScheduler')}" if scheduler else name
                    if number:
                        starts.setdefault(what, []).append(start)
                        each_step.setdefault(what, []).append(step)
    figures = {
        "start_ms": {name: summary(samples) for name, samples in starts.items()},
        "row_step_ms": {name: summary(samples) for name, samples in each_step.items()},
    }
    met = all(median(samples) <= STEP_GOAL_MS for samples in each_step.values()) and all(
        median(samples) <= START_GOAL_MS for samples in starts.values()
    )
    goal = f"at most {STEP_GOAL_MS} ms a step of an image in a batch of {BATCH}, at most {START_GOAL_MS} ms a start"
    report("pipelines", figures, goal, met=met, bars=each_step, unit="milliseconds a step of an image")


if __name__ == "__main__":
    main()
