"""Training of the conditional GAN: two objectives, and an initial generator made from the draft and the decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner_training.augment import move, tint
from limner_training.autoencoder import picture_loss, to_tensor
from limner_training.captions import CaptionTable
from limner_worker.networks.autoencoder import Autoencoder
from limner_worker.networks.flow_transformer import Draft
from limner_worker.networks.gan import NOISE_WIDTH, Discriminator, GanGenerator

Objective = Literal["least-squares", "log", "relativistic"]
RECONSTRUCTION: Final = 0.5
"""Weight of the distance to the drawing itself (as in pix2pix, Isola et al. 2017): a concept has only four drawings."""
PENALTY: Final = 0.5
PENALTY_NOISE: Final = 0.1
PENALISED: Final = 4
"""The gradient penalty uses every fourth image of a batch."""
DROPPED_STYLE: Final = 0.1


class Mismatch(NamedTuple):
    """For each row of a batch, a row whose text it is compared with."""

    rows: Tensor  # int64 [B]
    differs: Tensor  # float32 [B]: 1 where its concept is another one, else 0


class Gan(nn.Module):
    """Both networks, so that they share one optimiser and one checkpoint."""

    def __init__(self, generator: GanGenerator) -> None:
        super().__init__()
        self.generator = generator
        self.discriminator = Discriminator(len(generator.styles))


@dataclass
class GanTask:
    """Batches and losses; in the sum of both losses, each network receives gradients from its own loss only."""

    network: Gan
    objective: Objective
    pixels: np.ndarray  # uint8 [N, 64, 64, 3]
    styles: Tensor  # int64 [N]
    concepts: np.ndarray  # int64 [N], a number for each concept
    captions: CaptionTable
    rows: np.ndarray
    shares: np.ndarray
    random: np.random.Generator
    batch: int = 64

    def losses(self) -> tuple[Tensor, int]:
        """Compute the loss of one random batch for both networks, and its size."""
        chosen = self.random.choice(self.rows, self.batch, p=self.shares)
        real = to_tensor(self.pixels[chosen])
        text = self.captions.draw(chosen, self.random)
        style = self.styles[chosen].masked_fill(
            torch.rand(self.batch) < DROPPED_STYLE, len(self.network.generator.styles)
        )
        fake = self.network.generator(torch.randn(self.batch, NOISE_WIDTH), text, style).float()
        near = RECONSTRUCTION * picture_loss(fake, real)
        shown, drawn = self._shown(real), self._shown(fake)
        return near + self.generator_loss(shown, drawn, text, style) + self.discriminator_loss(
            shown, drawn.detach(), text, style, mismatched(self.concepts[chosen])
        ), self.batch

    def _shown(self, pictures: Tensor) -> Tensor:
        """Augment images for the discriminator: there are few drawings, so position and tint vary."""
        return tint(move(pictures, turn=0.0, zoom=0.05, shift=0.1), 0.1)

    def generator_loss(self, real: Tensor, fake: Tensor, text: Tensor, style: Tensor) -> Tensor:
        """Compute the generator's loss; the discriminator receives no gradients."""
        self.network.discriminator.requires_grad_(False)
        judged = self.score(fake, text, style)
        if self.objective == "least-squares":
            loss = (judged - 1).square().mean() / 2
        elif self.objective == "log":
            loss = F.softplus(-judged).mean()  # L_G = -log D(G(z, c), c)
        else:
            loss = F.softplus(self.score(real, text, style) - judged).mean()
        self.network.discriminator.requires_grad_(True)
        return loss

    def discriminator_loss(self, real: Tensor, fake: Tensor, text: Tensor, style: Tensor, others: Mismatch) -> Tensor:
        """Compute the discriminator's loss; its matching-aware term (Reed et al. 2016) uses another concept's text."""
        judge, seen = self.network.discriminator.judge, self.network.discriminator.look(real)
        right, wrong = judge(seen, text, style), judge(seen, text[others.rows], style)
        made, counts = self.score(fake, text, style), others.differs.view_as(right)
        if self.objective == "least-squares":
            # Mao et al. 2017.
            loss = ((right - 1).square() + (counts * wrong.square() + made.square()) / 2).mean() / 2
        elif self.objective == "log":
            # L_cGAN = log D(x, c) + (log(1 - D(x, c')) + log(1 - D(G(z, c), c))) / 2, negated (Reed et al. 2016).
            loss = (F.softplus(-right) + (counts * F.softplus(wrong) + F.softplus(made)) / 2).mean()
        else:
            # Relativistic pairing (Jolicoeur-Martineau 2018; R3GAN, Huang et al. 2024).
            loss = (F.softplus(made - right) + counts * F.softplus(wrong - right)).mean() / 2
        some = slice(None, None, PENALISED)
        flat = self._slope(real[some], right[some], text[some], style[some])
        return loss + PENALTY * (flat + self._slope(fake[some], made[some], text[some], style[some]))

    def _slope(self, pictures: Tensor, judged: Tensor, text: Tensor, style: Tensor) -> Tensor:
        """Estimate the squared gradient (R1, R2) by a finite difference (Lin et al. 2025): no double backward."""
        beside = self.score(pictures + PENALTY_NOISE * torch.randn_like(pictures), text, style)
        return ((beside - judged) / PENALTY_NOISE).square().mean()

    def score(self, pictures: Tensor, text: Tensor, style: Tensor) -> Tensor:
        """Return the discriminator's output for pictures with their texts and styles; its sigmoid is D."""
        return self.network.discriminator.judge(self.network.discriminator.look(pictures), text, style)


def mismatched(concepts: np.ndarray) -> Mismatch:
    """Return another row of a batch for each row, with another concept wherever no concept has more than half of it."""
    order = np.argsort(concepts, kind="stable")
    _, counts = np.unique(concepts, return_counts=True)
    rows = np.empty_like(order)
    rows[order] = np.roll(order, int(counts.max()))  # by the size of the largest group, which leaves every group
    return Mismatch(torch.as_tensor(rows), torch.as_tensor(concepts[rows] != concepts).float())


@torch.no_grad()
def draw(network: GanGenerator, text: Tensor, style: Tensor, seed: int = 0) -> Tensor:
    """Generate images [B, 3, 64, 64] in [-1, 1]; row i uses the noise of seed + i."""
    rows = [torch.randn(NOISE_WIDTH, generator=torch.Generator().manual_seed(seed + row)) for row in range(len(text))]
    return network(torch.stack(rows), text, style).clamp(-1, 1)


def initial_generator(draft: Draft, autoencoder: Autoencoder) -> GanGenerator:
    """Build a generator equal to the flow's draft plus the decoder: blurred, and independent of the noise."""
    wide, deep = autoencoder.config["wide"], autoencoder.config["deep"]
    blocks = autoencoder.config["decoder_blocks"]
    network = GanGenerator(wide=wide, deep=deep, blocks=blocks, width=draft.config["width"])
    places = {"weight": draft.final.weight.detach().clone(), "bias": draft.final.bias.detach().clone()}
    spread = autoencoder.latent_std.repeat_interleave(64)
    places["weight"] *= spread[:, None]
    places["bias"] = places["bias"] * spread + autoencoder.latent_mean.repeat_interleave(64)
    network.places.load_state_dict(places)
    for name in ("text", "style", "hidden"):
        getattr(network, name).load_state_dict(getattr(draft, name).state_dict())
    nn.init.normal_(network.noise.weight, std=0.02)
    nn.init.zeros_(network.noise.bias)
    layers = list(autoencoder.decoder)
    at = iter(layers)
    network.first.load_state_dict(next(at).state_dict())
    for block in network.deep:
        block.load_state_dict(next(at).state_dict(), strict=False)
    network.unfold.load_state_dict(next(at).state_dict())
    next(at)  # the pixel shuffle
    for block in network.wide:
        block.load_state_dict(next(at).state_dict(), strict=False)
    network.last_norm.load_state_dict(next(at).state_dict())
    next(at)  # its activation
    network.last.load_state_dict(next(at).state_dict())
    return network
