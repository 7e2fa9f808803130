"""Contrastive training of the text head and the evaluator's image tower, in all languages together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner_training.augment import move, roughen, tint
from limner_training.autoencoder import to_tensor
from limner_training.captions import CaptionTable
from limner_worker.networks.image_tower import ImageTower
from limner_worker.networks.text_head import TextHead

TEXT_WEIGHT: Final = 0.5
STYLE_WEIGHT: Final = 0.5
INPUT_NOISE: Final = 0.006
"""Standard deviation of the noise added to each of the 384 entries of a sentence: prompts differ from captions."""


class TwoTowers(nn.Module):
    """The image tower and the text head, with the temperature that divides their dot products."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = ImageTower()
        self.head = TextHead()
        self.log_scale = nn.Parameter(torch.tensor(math.log(15.0)))

    @property
    def scale(self) -> Tensor:
        """One over the temperature, at most 60; CLIP bounds it too."""
        return self.log_scale.exp().clamp(max=60.0)


@dataclass
class TowerTask:
    """Batches and losses for both towers; a batch holds each concept at most once, in one style."""

    network: TwoTowers
    pixels: np.ndarray  # uint8 [N, 64, 64, 3]
    styles: Tensor  # int64 [N]
    concepts: np.ndarray  # int64 [N], a number for each concept
    captions: CaptionTable  # of sentence embeddings
    rows: np.ndarray  # the drawings to train on
    generator: np.random.Generator
    batch: int = 256

    def losses(self) -> tuple[Tensor, int]:
        """Contrast pictures with captions, and captions with captions of the same drawings."""
        chosen = self._distinct()
        seen = self.network.tower(self._distorted(chosen))
        first, second = self._texts(chosen), self._texts(chosen)
        loss = contrast(seen.concept, first, self.network.scale)
        loss = loss + TEXT_WEIGHT * contrast(first, second, self.network.scale)
        return loss + STYLE_WEIGHT * F.cross_entropy(seen.style, self.styles[chosen]), self.batch

    def _distorted(self, chosen: np.ndarray) -> Tensor:
        """Augment drawings with the distortions of generators, and stronger ones."""
        pictures = move(to_tensor(self.pixels[chosen]), turn=0.15, zoom=0.1, shift=0.08)
        return roughen(tint(pictures, 0.12), 0.06).clamp(-1, 1)

    def _distinct(self) -> np.ndarray:
        shuffled = self.generator.permutation(self.rows)
        _, first = np.unique(self.concepts[shuffled], return_index=True)
        return shuffled[self.generator.permutation(first)[: self.batch]]

    def _texts(self, chosen: np.ndarray) -> Tensor:
        sentences = self.captions.draw(chosen, self.generator)
        return self.network.head(sentences + INPUT_NOISE * torch.randn_like(sentences)).float()


def contrast(left: Tensor, right: Tensor, scale: Tensor) -> Tensor:
    """Return the symmetric cross entropy of corresponding rows [B, 384] (Radford et al. 2021)."""
    similarity = scale * left @ right.T
    target = torch.arange(len(left))
    return (F.cross_entropy(similarity, target) + F.cross_entropy(similarity.T, target)) / 2
