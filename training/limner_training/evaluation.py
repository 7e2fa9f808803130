"""`limner evaluate`: scores of a built-in model's images, next to those of true and of random drawings."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from limner_training import autoencoder as pictures
from limner_training import data, flow, gan, report, stages
from limner_training.languages import LANGUAGES
from limner_training.metrics import Draw, Judge, Scores
from limner_worker.generators.text_encoding.sentence_encoder import TextEncoder
from limner_worker.networks.autoencoder import Autoencoder
from limner_worker.networks.flow_transformer import FlowTransformer
from limner_worker.networks.gan import GanGenerator
from limner_worker.networks.image_tower import ImageTower
from limner_worker.networks.upscaler import Upscaler
from limner_worker.networks.weights import load_module

MODELS: Final = ("limner-vae", "limner-gan", "limner-flow")
STEPS, GUIDANCE = 8, 3.0
"""The flow's default settings: those of its card."""
SECOND_SEED: Final = 1_000_000
"""Seed offset of each prompt's second image, above any number of images."""
PROMPTS: Final = (
    "red apple",
    "cat face",
    "rocket",
    "pizza",
    "smiling face with sunglasses",
    "a cute dog",
    "sunflower",
    "a slice of watermelon",
    "blue car",
    "guitar",
    "castle",
    "ghost",
    "octopus",
    "a house with a garden",
    "crown",
    "birthday cake",
)


class Sampler(NamedTuple):
    """The flow's settings."""

    steps: int = STEPS
    guidance: float = GUIDANCE


DEFAULT_SAMPLER: Final = Sampler()


@dataclass(frozen=True)
class Sizes:
    """Number of images behind each score."""

    pairs: int = 256
    a_language: int = 96
    timed: int = 7


QUICK: Final = Sizes(pairs=48, a_language=8, timed=3)


@dataclass
class Report:
    """The rows of the table, other figures, and the goals, each by name."""

    model: str
    sampler: Sampler = DEFAULT_SAMPLER
    rows: dict[str, Scores] = field(default_factory=dict[str, Scores])
    figures: dict[str, float] = field(default_factory=dict[str, float])
    goals: dict[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])
    """For each goal, the minimum and the measured value."""

    @property
    def summary(self) -> dict[str, Any]:
        """The report as one JSON object."""
        scores = {name: {key: _rounded(value) for key, value in asdict(row).items()} for name, row in self.rows.items()}
        return {
            "name": f"evaluate {self.model}",
            **({"sampler": self.sampler._asdict()} if self.model == "limner-flow" else {}),
            "figures": scores | {name: _rounded(value) for name, value in self.figures.items()},
            "goal": {name: _rounded(least) for name, (least, _) in self.goals.items()},
            "met": {name: value >= least for name, (least, value) in self.goals.items()},
        }


def evaluate(
    model: str, weights: Path, folder: Path, sizes: Sizes, seed: int = 0, sampler: Sampler = DEFAULT_SAMPLER
) -> Report:
    """Score a model with the weights below `weights` on the data in `folder`.

    Raises:
        DataError: there is no training data.
        WeightsError: a network is missing.
    """
    dataset = data.load_dataset(folder, seed)
    captions = stages.conditioning(folder, weights / "limner-text")
    judge = Judge(load_module(ImageTower, weights / "limner-text" / "tower.safetensors"), captions, dataset)
    random = np.random.default_rng(seed)
    seen = random.choice(dataset.training, sizes.pairs, replace=False)
    held_out = dataset.held_out[: sizes.pairs]
    found = Report(model, sampler)
    found.rows["true drawings, seen"] = judge.of_drawings(seen)
    found.rows["true drawings, held out"] = judge.of_drawings(held_out)
    found.rows["random drawings"] = judge.of_drawings(seen, random.choice(dataset.training, sizes.pairs))
    if model == "limner-vae":
        _add_autoencoder(found, judge, weights, held_out)
        return found
    draw = drawer(model, weights, sampler)
    for name, rows in (("seen", seen), ("held out", held_out)):
        text, style = captions.names()[rows], judge.styles[rows]
        found.rows[name] = judge.of_pictures(draw(text, style, 0), rows, draw(text, style, SECOND_SEED))
    some = seen[: sizes.a_language]
    for language in ("en", *LANGUAGES):
        found.rows[f"seen, {language}"] = judge.of_pictures(
            draw(captions.names(language)[some], judge.styles[some], 0), some
        )
    found.figures["seconds a picture"] = _seconds(model, weights, draw, sizes.timed)
    _add_goals(found, judge, weights, seen)
    return found


def drawer(model: str, weights: Path, sampler: Sampler = DEFAULT_SAMPLER) -> Draw:
    """Return a function that generates 64x64 images with a model; only limner-flow has a sampler.

    Raises WeightsError.
    """
    if model == "limner-gan":
        network = load_module(GanGenerator, weights / "limner-gan" / "gan.safetensors")
        return lambda text, style, seed: gan.draw(network, text, style, seed)
    autoencoder = load_module(Autoencoder, weights / "limner-vae" / "autoencoder.safetensors")
    if model == "limner-vae":
        return lambda text, _style, seed: _from_prior(autoencoder, len(text), seed)
    transformer = load_module(FlowTransformer, weights / "limner-flow" / "flow.safetensors")

    @torch.no_grad()
    def draw(text: Tensor, style: Tensor, seed: int) -> Tensor:
        parts = [
            flow.sample(transformer, text[at : at + 64], style[at : at + 64], *sampler, seed + at)
            for at in range(0, len(text), 64)
        ]
        return autoencoder.decode(autoencoder.denormalise(torch.cat(parts))).clamp(-1, 1)

    return draw


@torch.no_grad()
def contact_sheet(
    model: str,
    weights: Path,
    prompts: Sequence[str],
    file: Path,
    seed: int = 0,
    sampler: Sampler = DEFAULT_SAMPLER,
) -> None:
    """Write a PNG with each prompt in each style, upscaled to 256 pixels and shown at 128."""
    draw = drawer(model, weights, sampler)
    upscaler = load_module(Upscaler, weights / "limner-vae" / "upscaler.safetensors")
    text = TextEncoder(weights / "limner-text").encode(prompts)
    rows: list[Tensor] = []
    for style in range(len(data.STYLES)):
        small = draw(text, torch.full((len(prompts),), style), seed)
        rows.append(nn.functional.avg_pool2d(upscaler(small), 2))
    report.save_sheet([row[at : at + 8] for at in range(0, len(prompts), 8) for row in rows], file)


def _add_autoencoder(found: Report, judge: Judge, weights: Path, rows: np.ndarray) -> None:
    file = weights / "limner-vae" / "autoencoder.safetensors"
    autoencoder = load_module(Autoencoder, file)
    true = judge.dataset.small[judge.dataset.held_out]
    rebuilt = pictures.reconstruct(autoencoder, judge.dataset.small[rows])
    found.rows["rebuilt, held out"] = judge.of_pictures(rebuilt, rows)
    found.rows["drawn from the prior"] = judge.of_pictures(_from_prior(autoencoder, len(rows), 0), rows)
    found.figures["PSNR in dB"] = pictures.score(autoencoder, true)
    for name, part in (("encoder", autoencoder.encoder), ("decoder", autoencoder.decoder)):
        found.figures[f"MB of the {name}"] = 2e-6 * sum(parameter.numel() for parameter in part.parameters())
        found.goals[f"MB of the {name}, negated"] = (-4.0, -found.figures[f"MB of the {name}"])
    found.goals["PSNR in dB"] = (30.0, found.figures["PSNR in dB"])


def _add_goals(found: Report, judge: Judge, weights: Path, seen: np.ndarray) -> None:
    rows, true = found.rows, found.rows["true drawings, seen"]
    if model_is_gan := found.model == "limner-gan":
        text, style = judge.captions.names()[seen], judge.styles[seen]
        quality = judge.of_pictures(drawer("limner-flow", weights, found.sampler)(text, style, 0), seen)
        found.rows["limner-flow, seen"] = quality
        found.goals["top-5 over the flow's"] = (0.5, rows["seen"].top5 / max(quality.top5, 1e-9))
    else:
        of_held_out = rows["held out"].top5 / max(rows["true drawings, held out"].top5, 1e-9)
        found.goals["top-5 of seen pairs over true drawings'"] = (0.8, rows["seen"].top5 / true.top5)
        found.goals["top-5 of held-out pairs over true drawings'"] = (0.5, of_held_out)
        found.goals["style"] = (0.9, rows["seen"].style)
    found.goals["Chinese top-5 over English"] = (0.8, rows["seen, zh"].top5 / max(rows["seen, en"].top5, 1e-9))
    found.goals["seconds a picture, negated"] = (-0.15 if model_is_gan else -1.2, -found.figures["seconds a picture"])


@torch.no_grad()
def _from_prior(autoencoder: Autoencoder, count: int, seed: int) -> Tensor:
    """Decode latents sampled from independent normal distributions."""
    latents = torch.randn(count, 16, 8, 8, generator=torch.Generator().manual_seed(seed))
    return autoencoder.decode(autoencoder.denormalise(latents)).clamp(-1, 1)


@torch.no_grad()
def _seconds(model: str, weights: Path, draw: Draw, repeats: int) -> float:
    """Return the median seconds of one 256x256 image, text encoding included."""
    encoder = TextEncoder(weights / "limner-text", torch.get_num_threads())
    upscaler = load_module(Upscaler, weights / "limner-vae" / "upscaler.safetensors")
    times: list[float] = []
    for number in range(repeats + 1):
        started = time.perf_counter()
        upscaler(draw(encoder.encode([f"{PROMPTS[number]}, by {model}"]), torch.tensor([0]), number))
        times.append(time.perf_counter() - started)
    return median(times[1:])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)
