"""A trial: how well does a small network trained on compositions bind words to things?

    nice python -m bench.binding [--minutes 30] [--conditioning sentence] [--folder FOLDER]

A rectified flow of 4 M parameters learns 24 nouns in one style: alone in eleven colours, in pairs, in pairs of two
colours, on a canvas of 64x64 pixels (8x8 latents of limner-vae). It reads the prompt by cross-attention, either as one
vector for each word or as one vector for the sentence, as limner-flow does; nothing else differs. The training leaves
out the combinations that `limner evaluate --tasks` asks for; these are drawn at the end, and judged in the same way.
The same command continues from its checkpoint. docs/training.md has the results.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from bench.common import RESULTS, conclude
from limner_training import data, loop, runner
from limner_training.flow import draw_times
from limner_training.tasks import running
from limner_training.tasks.judging import TaskJudge
from limner_training.tasks.prompts import ASKED_COLOURS, RELATIONS, TaskPrompt, Wanted, held_out
from limner_training.tasks.selection import true_sources
from limner_training.tasks.sheet import save_sheet
from limner_training.tasks.true_drawings import SIDE, places, recoloured, rgba
from limner_training.tasks.vocabulary import Noun, nouns
from limner_worker.generators.text_encoding.sentence_encoder import TextEncoder
from limner_worker.networks.autoencoder import Autoencoder
from limner_worker.networks.flow_transformer import Block, sinusoid
from limner_worker.networks.weights import SHIPPED, load_module

Pixels = NDArray[np.uint8]
STYLE: Final = "noto"
NOUNS: Final = 24
CANVAS: Final = 64
PICTURES: Final = 12_000
BATCH: Final = 64
RATE: Final = 2e-3
LONGEST: Final = 12
"""The most words of a prompt."""
DROPPED: Final = 0.1
STEPS: Final = 12
GUIDANCE: Final = 3.0
ASKED: Final = 48
"""Held-out prompts of each kind that are judged."""
KINDS: Final = ("colour", "position", "colour attribution")


def _norm(tokens: Tensor) -> Tensor:
    return F.layer_norm(tokens, tokens.shape[-1:])


class WordFlow(nn.Module):
    """A flow transformer on patches of 2x2 latents, whose blocks also attend to the prompt's vectors."""

    def __init__(self, width: int = 192, depth: int = 5, heads: int = 4, modulation: int = 128) -> None:
        super().__init__()
        self.heads = heads
        self.embed = nn.Linear(64, width)
        self.position = nn.Parameter(0.02 * torch.randn(16, width))
        self.order = nn.Parameter(0.02 * torch.randn(LONGEST, width))
        self.words = nn.Linear(384, width)
        self.null = nn.Parameter(torch.zeros(384))
        self.time = nn.Sequential(nn.Linear(128, width), nn.SiLU(), nn.Linear(width, modulation), nn.SiLU())
        self.blocks = nn.ModuleList(Block(width, heads, modulation) for _ in range(depth))
        self.queries = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(depth))
        self.keys_values = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(depth))
        self.outputs = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.final = nn.Linear(width, 64)
        nn.init.zeros_(self.final.weight)

    def forward(self, latents: Tensor, times: Tensor, prompt: Tensor, there: Tensor) -> Tensor:
        """Return velocities [B, 16, 8, 8] for prompts [B, LONGEST, 384], of which `there` [B, LONGEST] are words."""
        conditioning = self.time(sinusoid(times))
        words = self.words(prompt * 384**0.5) + self.order
        tokens = self.embed(F.pixel_unshuffle(latents, 2).flatten(2).transpose(1, 2)) + self.position
        for block, query, key_value, output in zip(
            self.blocks, self.queries, self.keys_values, self.outputs, strict=True
        ):
            tokens = tokens + output(self._read(query(_norm(tokens)), key_value(_norm(words)), there))
            tokens = block(tokens, conditioning)
        velocity = self.final(_norm(tokens))
        return F.pixel_shuffle(velocity.transpose(1, 2).unflatten(2, (4, 4)), 2)

    def _read(self, query: Tensor, key_value: Tensor, there: Tensor) -> Tensor:
        queries = torch.unflatten(query, -1, (self.heads, -1)).transpose(1, 2)
        keys, values = torch.unflatten(key_value, -1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=there[:, None, None])
        return mixed.transpose(1, 2).flatten(2)


@dataclass
class Compositions:
    """The latents [N, 16, 8, 8] of pictures with their prompts, and batches of them."""

    network: WordFlow
    latents: Tensor
    prompts: Tensor  # float32 [N, LONGEST, 384]
    there: Tensor  # bool [N, LONGEST]

    def losses(self) -> tuple[Tensor, int]:
        """Return the squared error of the velocities of one random batch, and its size."""
        chosen = torch.randint(len(self.latents), (BATCH,))
        target, prompt, there = self.latents[chosen], self.prompts[chosen], self.there[chosen]
        dropped = torch.rand(BATCH) < DROPPED
        prompt = torch.where(dropped[:, None, None], self.network.null, prompt)
        noise, times = torch.randn_like(target), draw_times(BATCH)
        mixed = torch.lerp(noise, target, times[:, None, None, None])
        return (self.network(mixed, times, prompt, there) - (target - noise)).square().mean(), BATCH


def every_prompt(chosen: Sequence[Noun], *, held: bool, choose: random.Random) -> dict[str, list[TaskPrompt]]:
    """Return the prompts of each kind that the tasks hold out, or those that they do not, in random order."""
    one = [
        Wanted(noun, colour)
        for noun, colour in product(chosen, ASKED_COLOURS)
        if held_out("colour", colour, noun.concept) == held
    ]
    two = [
        (first, second)
        for first, second in product(chosen, repeat=2)
        if first != second and held_out("pair", *sorted((first.concept, second.concept))) == held
    ]
    phrases = {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"}
    found = {
        "colour": [TaskPrompt("colour", "en", f"a {each.colour} {each.noun.name}", (each,)) for each in one],
        "position": [
            TaskPrompt("position", "en", f"a {a.name} {phrases[how]} a {b.name}", (Wanted(a), Wanted(b)), relation=how)
            for (a, b), how in product(two, RELATIONS)
        ],
        "colour attribution": [
            TaskPrompt("colour attribution", "en", f"a {a.colour} {a.noun.name} and a {b.colour} {b.noun.name}", (a, b))
            for a, b in product(choose.sample(one, min(len(one), 90)), repeat=2)
            if a.noun != b.noun and a.colour != b.colour
        ],
    }
    return {kind: choose.sample(of, len(of)) for kind, of in found.items()}


def composed(prompt: TaskPrompt, sprites: dict[tuple[str, str | None], Pixels], choose: random.Random) -> Pixels:
    """Return a true picture of a prompt: uint8 [64, 64, 3]."""
    canvas = Image.new("RGBA", (SIDE, SIDE), "white")
    for each, (centre, side) in zip(prompt.wanted, places(len(prompt.wanted), prompt.relation, choose), strict=True):
        drawing = Image.fromarray(sprites[each.noun.concept, each.colour]).resize((side, side))
        canvas.alpha_composite(drawing, tuple(max(0, round(at * SIDE - side / 2)) for at in centre))
    return np.asarray(canvas.convert("RGB").resize((CANVAS, CANVAS), Image.Resampling.BOX))


def read(texts: Sequence[str], encoder: TextEncoder, conditioning: str) -> tuple[Tensor, Tensor]:
    """Return the vectors of prompts [N, LONGEST, 384], and which of them are there [N, LONGEST]."""
    parts = [text.split() if conditioning == "words" else [text] for text in texts]
    known = list(dict.fromkeys(part for each in parts for part in each))
    vectors = dict(zip(known, encoder.encode(known), strict=True))
    prompts, there = torch.zeros(len(texts), LONGEST, 384), torch.zeros(len(texts), LONGEST, dtype=torch.bool)
    for row, each in enumerate(parts):
        prompts[row, : len(each)] = torch.stack([vectors[part] for part in each])
        there[row, : len(each)] = True
    return prompts, there


@torch.no_grad()
def latents_of(pictures: Pixels, autoencoder: Autoencoder) -> Tensor:
    """Return the normalised latents [N, 16, 8, 8] of pictures [N, 64, 64, 3]."""
    found = [
        autoencoder.normalise(autoencoder.encode(torch.as_tensor(some).permute(0, 3, 1, 2) / 127.5 - 1)[0])
        for some in np.array_split(pictures, max(1, len(pictures) // 100))
    ]
    return torch.cat(found)


@torch.no_grad()
def pictures_of(latents: Tensor, autoencoder: Autoencoder) -> Pixels:
    """Return the pictures [N, 64, 64, 3] of normalised latents."""
    decoded = autoencoder.decode(autoencoder.denormalise(latents)).clamp(-1, 1)
    return ((decoded + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


@torch.no_grad()
def sampled(network: WordFlow, prompts: Tensor, there: Tensor) -> Tensor:
    """Return latents [N, 16, 8, 8] by Euler steps with classifier-free guidance."""
    latents = torch.randn(len(prompts), 16, 8, 8, generator=torch.Generator().manual_seed(0))
    both = torch.cat([prompts, network.null.expand_as(prompts)])
    for step in range(STEPS):
        times = torch.full((len(both),), step / STEPS)
        asked, free = network(torch.cat([latents, latents]), times, both, torch.cat([there, there])).chunk(2)
        latents = latents + (free + GUIDANCE * (asked - free)) / STEPS
    return latents


class Trial:
    """The pictures to train on, the prompts to ask for, and how they are judged."""

    def __init__(self, conditioning: str) -> None:
        """Make the pictures. Raises DataError: the true drawings are missing and cannot be downloaded."""
        choose = random.Random(0)  # noqa: S311 - data that are the same everywhere
        _, sources, _ = true_sources(data.cache_folder())
        fit = [n for n in nouns() if n.recolourable and " " not in n.name and (n.concept, STYLE) in sources][:NOUNS]
        plain = {noun.concept: rgba(sources[noun.concept, STYLE]) for noun in fit}
        self.sprites: dict[tuple[str, str | None], Pixels] = {
            (concept, colour): picture if colour is None else recoloured(picture, colour)
            for (concept, picture), colour in product(plain.items(), (None, *ASKED_COLOURS))
        }
        self.autoencoder = load_module(Autoencoder, SHIPPED / "limner-vae" / "autoencoder.safetensors")
        self.judge = TaskJudge(running.ranker(SHIPPED))
        self.encoder, self.conditioning = TextEncoder(SHIPPED / "limner-text"), conditioning
        seen = every_prompt(fit, held=False, choose=choose)
        self.asked = {kind: of[:ASKED] for kind, of in every_prompt(fit, held=True, choose=choose).items()}
        self.true = {kind: self._composed(of, choose) for kind, of in self.asked.items()}
        self.seen = {kind: of[:ASKED] for kind, of in seen.items()}
        shown = [prompt for kind in KINDS for prompt in choose.choices(seen[kind], k=PICTURES // len(KINDS))]
        self.latents = latents_of(self._composed(shown, choose), self.autoencoder)
        self.prompts, self.there = read([prompt.text for prompt in shown], self.encoder, conditioning)

    def task(self, network: WordFlow) -> Compositions:
        """Return what a network is trained on."""
        return Compositions(network, self.latents, self.prompts, self.there)

    def _composed(self, prompts: Sequence[TaskPrompt], choose: random.Random) -> Pixels:
        return np.stack([composed(prompt, self.sprites, choose) for prompt in prompts])

    def drawn(self, network: WordFlow, prompts: Sequence[TaskPrompt]) -> Pixels:
        """Return the network's pictures [N, 64, 64, 3] of prompts."""
        return pictures_of(
            sampled(network, *read([each.text for each in prompts], self.encoder, self.conditioning)), self.autoencoder
        )

    def scored(self, pictures: Pixels, prompts: Sequence[TaskPrompt]) -> dict[str, float]:
        """Return the shares of pictures that are right, and whose nouns are recognised."""
        verdicts = [self.judge.verdict(picture, prompt) for picture, prompt in zip(pictures, prompts, strict=True)]
        count = len(verdicts)
        return {
            "right": round(sum(each.right for each in verdicts) / count, 3),
            "recognised": round(sum(each.recognised for each in verdicts) / count, 3),
        }

    def figures(self, network: WordFlow) -> dict[str, Any]:
        """Return the scores of held-out and of trained prompts, beside those of true pictures that were decoded."""
        found: dict[str, Any] = {}
        for kind, prompts in self.asked.items():
            ceiling = pictures_of(latents_of(self.true[kind], self.autoencoder), self.autoencoder)
            found[kind] = {
                "held out": self.scored(self.drawn(network, prompts), prompts),
                "trained": self.scored(self.drawn(network, self.seen[kind]), self.seen[kind]),
                "ceiling": self.scored(ceiling, prompts),
            }
        return found


@click.command()
@click.option("--minutes", default=30.0, show_default=True)
@click.option("--threads", default=1, show_default=True)
@click.option("--conditioning", type=click.Choice(["words", "sentence"]), default="words", show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="Of the checkpoint; default: in limner's cache.")
def main(minutes: float, threads: int, conditioning: str, folder: Path | None) -> None:
    """Train for some minutes, then print the scores of held-out combinations and draw some of them."""
    runner.set_up(threads, 0)
    folder = folder or data.cache_folder() / f"binding-{conditioning}"
    folder.mkdir(parents=True, exist_ok=True)
    trial = Trial(conditioning)
    network = WordFlow()
    training = loop.begin(network, RATE, (network.embed, network.final))
    loop.restore(training, folder)
    task = trial.task(network)
    runner.run_training(training, task.losses, folder, minutes, lambda: time.strftime("%H:%M"))
    network.load_state_dict(training.average)
    network.eval()
    scores = trial.figures(network)
    done = {"steps": training.step, "minutes": round(training.seconds / 60, 1), "loss": training.history[-1][1]}
    shown = [prompt for of in trial.asked.values() for prompt in of[:16]]
    pictures = trial.drawn(network, shown)
    RESULTS.mkdir(exist_ok=True)
    judged = [trial.judge.verdict(picture, prompt) for picture, prompt in zip(pictures, shown, strict=True)]
    save_sheet(list(zip(shown, pictures, judged, strict=True)), RESULTS / f"binding-{conditioning}.png")
    print(f"{training.step} steps; loss by step: {training.history[:: max(1, len(training.history) // 8)]}")
    met = all(scores[kind]["held out"]["right"] >= 0.5 for kind in KINDS)
    conclude(f"binding-{conditioning}", done | scores, "half of the held-out prompts of each kind are right", met=met)


if __name__ == "__main__":
    main()
