"""Training task, loss and sampler of the flow transformer: rectified flow on the autoencoder's normalised latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import torch
from torch import Tensor

from limner_training.captions import CaptionTable
from limner_worker.networks.flow_transformer import Draft, FlowTransformer

DROPPED_TEXT: Final = 0.1
DROPPED_STYLE: Final = 0.1


@dataclass
class FlowTask:
    """Batches and losses for the flow transformer."""

    network: FlowTransformer
    latents: Tensor  # float32 [N, 16, 8, 8], normalised means
    deviations: Tensor  # float32 [N, 16, 8, 8], in the same units
    styles: Tensor  # int64 [N]
    captions: CaptionTable
    rows: np.ndarray  # the drawings to train on
    shares: np.ndarray  # their sampling probabilities
    generator: np.random.Generator
    batch: int = 128

    def losses(self) -> tuple[Tensor, int]:
        """Compute the loss of one random batch, and its size."""
        chosen, text, style, no_text = self._conditions()
        data = self.latents[chosen] + self.deviations[chosen] * torch.randn_like(self.latents[chosen])
        return flow_loss(self.network, data, draw_times(self.batch), text, style, no_text), self.batch

    def draft_losses(self) -> tuple[Tensor, int]:
        """Compute the squared error of one random batch's drafts, and its size."""
        chosen, text, style, no_text = self._conditions()
        guess = self.network.draft(text, style, no_text).view_as(self.latents[chosen])
        return (guess - self.latents[chosen]).square().mean(), self.batch

    def _conditions(self) -> tuple[np.ndarray, Tensor, Tensor, Tensor]:
        """Sample drawings with text and style, some of which are dropped for classifier-free guidance."""
        chosen = self.generator.choice(self.rows, self.batch, p=self.shares)
        text = self.captions.draw(chosen, self.generator)
        style = self.styles[chosen].masked_fill(torch.rand(self.batch) < DROPPED_STYLE, len(self.network.styles))
        return chosen, text, style, torch.rand(self.batch) < DROPPED_TEXT


def flow_loss(
    network: FlowTransformer, data: Tensor, times: Tensor, text: Tensor, style: Tensor, no_text: Tensor
) -> Tensor:
    """Mean squared error of the velocity at random points between noise and `data` [B, 16, 8, 8] (Liu et al. 2023)."""
    noise = torch.randn_like(data)
    mixed = torch.lerp(noise, data, times[:, None, None, None])
    return (network(mixed, times, text, style, no_text) - (data - noise)).square().mean()


@torch.no_grad()
def draft_score(network: Draft, task: FlowTask, rows: np.ndarray) -> float:
    """Compute the mean squared error of drafts; the mean of all drawings scores 1."""
    text = task.captions.draw(rows, np.random.default_rng(0))
    guess = network(text, task.styles[rows], torch.zeros(len(rows), dtype=torch.bool))
    return float((guess.view_as(task.latents[rows]) - task.latents[rows]).square().mean())


@torch.no_grad()
def score(network: FlowTransformer, task: FlowTask, rows: np.ndarray) -> float:
    """Compute the mean loss over drawings, with the same times, noise and captions in every call."""
    state = torch.random.get_rng_state()
    cast("Any", torch).manual_seed(0)
    text = task.captions.draw(rows, np.random.default_rng(0))
    with_text = torch.zeros(len(rows), dtype=torch.bool)
    loss = flow_loss(network, task.latents[rows], draw_times(len(rows)), text, task.styles[rows], with_text)
    torch.random.set_rng_state(state)
    return float(loss)


def draw_times(count: int) -> Tensor:
    """Sample logit-normal times (Esser et al. 2024): float32 [count] in (0, 1), denser in the middle."""
    return torch.randn(count).sigmoid()


@torch.no_grad()
def sample(
    network: FlowTransformer, text: Tensor, style: Tensor, steps: int = 8, guidance: float = 3.0, seed: int = 0
) -> Tensor:
    """Sample normalised latents [B, 16, 8, 8] by Euler steps with classifier-free guidance (Ho & Salimans 2022).

    The unconditional half keeps the style, so guidance affects the subject only. Row i uses the noise of seed + i.
    """
    count = len(text)
    latents = torch.cat([torch.randn(1, 16, 8, 8, generator=_generator(seed + row)) for row in range(count)])
    both_text, both_style = torch.cat([text, text]), torch.cat([style, style])
    no_text = torch.arange(2 * count) >= count
    for step in range(steps):
        times = torch.full((2 * count,), step / steps)
        velocity = network(torch.cat([latents, latents]), times, both_text, both_style, no_text)
        conditional, free = velocity.chunk(2)
        latents = latents + (free + guidance * (conditional - free)) / steps
    return latents


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
