"""Scores of generated images, computed from the features of the image tower."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from limner_training.autoencoder import to_tensor
from limner_training.captions import CaptionTable
from limner_training.data import Dataset
from limner_worker.networks.image_tower import ImageTower, Seen

Draw = Callable[[Tensor, Tensor, int], Tensor]
"""Maps text [B, 384], style [B] and a seed to images [B, 3, 64, 64]; row i uses seed + i."""


@dataclass(frozen=True)
class Scores:
    """Scores of a set of images; shares and cosines are between 0 and 1.

    `top1`, `top5`: the right concept is the nearest, or among the five nearest, of all concepts' English names.
    `style`: the style is the one asked for. `frechet`: the distance of the features' Gaussians from those of the true
    drawings (Heusel et al. 2017). `diversity`: the distance of two seeds of one prompt over that of two prompts.
    `nearest`: the mean cosine of the features to those of the nearest training drawing.
    """

    top1: float
    top5: float
    style: float
    frechet: float
    diversity: float | None
    nearest: float


class Judge:
    """The image tower, with the embeddings of all concepts' names and the features of all drawings."""

    def __init__(self, tower: ImageTower, captions: CaptionTable, dataset: Dataset) -> None:
        """Take captions embedded by the text head that the tower was trained with."""
        self.tower = tower
        self.captions = captions
        self.dataset = dataset
        self.styles = torch.tensor([tower.styles.index(drawing.style) for drawing in dataset.drawings])
        _, first = np.unique(dataset.concepts, return_index=True)
        self.names = captions.names()[first]  # [concepts, 384]
        self.concepts = torch.as_tensor(dataset.concepts)
        self._drawn = self._look(to_tensor(dataset.small[: len(dataset.drawings)]))

    def of_pictures(self, pictures: Tensor, rows: np.ndarray, again: Tensor | None = None) -> Scores:
        """Score images [B, 3, 64, 64] of the concepts of the drawings `rows`; `again` holds images of other seeds."""
        seen = self._look(pictures)
        rank = ranks(seen.concept, self.names, self.concepts[rows])
        return Scores(
            top1=_share(rank < 1),
            top5=_share(rank < 5),
            style=_share(seen.style.argmax(1) == self.styles[rows]),
            frechet=frechet(seen.features, self._drawn.features[rows]),
            diversity=None if again is None else diversity(seen.features, self._look(again).features),
            nearest=self._nearest(seen.features, rows),
        )

    def of_drawings(self, rows: np.ndarray, shown: np.ndarray | None = None) -> Scores:
        """Score the true drawings `rows`, or the drawings `shown` in their place."""
        return self.of_pictures(to_tensor(self.dataset.small[rows if shown is None else shown]), rows)

    def _look(self, pictures: Tensor) -> Seen:
        with torch.no_grad():
            parts = [self.tower(part) for part in torch.split(pictures, 256)]
        return Seen(*(torch.cat(values) for values in zip(*parts, strict=True)))

    def _nearest(self, features: Tensor, rows: np.ndarray) -> float:
        known = F.normalize(self._drawn.features[self.dataset.training], dim=1)
        similarity = F.normalize(features, dim=1) @ known.T
        # Exclude the drawing itself: a training drawing is its own nearest.
        similarity[torch.as_tensor(rows)[:, None] == torch.as_tensor(self.dataset.training)[None]] = -1
        return float(similarity.max(1).values.mean())


def ranks(queries: Tensor, names: Tensor, right: Tensor) -> Tensor:
    """Return, for each query [B, 384], how many names [C, 384] are nearer than the right one: int64 [B]."""
    similarity = queries @ names.T
    return (similarity > similarity.gather(1, right[:, None])).sum(1)


def frechet(left: Tensor, right: Tensor) -> float:
    """Return the squared Fréchet distance of two sets of features [N, D], fitted by Gaussians (Heusel et al. 2017)."""
    first, second = left.double(), right.double()
    eigenvalues: Tensor = cast("Any", torch.linalg).eigvals(torch.cov(first.T) @ torch.cov(second.T))
    both = eigenvalues.real.clamp_min(0).sqrt().sum()
    means = (first.mean(0) - second.mean(0)).square().sum()
    return max(0.0, float(means + first.var(0).sum() + second.var(0).sum() - 2 * both))


def diversity(left: Tensor, right: Tensor) -> float:
    """Return the mean distance between corresponding rows over that between other rows."""
    together = F.pairwise_distance(left, right, eps=0.0).mean()
    apart = F.pairwise_distance(left, right.roll(1, 0), eps=0.0).mean()
    return float(together / apart)


@torch.no_grad()
def describe(judge: Judge, draw: Draw, count: int = 96) -> str:
    """Return one line on a generator in training: recognition of its images for seen and for held-out pairs."""
    parts: list[str] = []
    random = np.random.default_rng(0)
    for name, rows in (("seen", judge.dataset.training), ("held-out", judge.dataset.held_out)):
        some = random.choice(rows, min(count, len(rows)), replace=False)
        scores = judge.of_pictures(draw(judge.captions.names()[some], judge.styles[some], 0), some)
        parts.append(f"{name} top-1 {scores.top1:.2f}, top-5 {scores.top5:.2f}, style {scores.style:.2f}")
    return "; ".join(parts)


def describe_towers(tower: ImageTower, captions: CaptionTable, dataset: Dataset) -> str:
    """Return one line on the towers in training: how often drawings and foreign names match the English name."""
    judge = Judge(tower, captions, dataset)
    scores = judge.of_drawings(dataset.held_out)
    _, first = np.unique(dataset.concepts, return_index=True)
    numbers = torch.arange(len(first))
    found = {code: _share(ranks(captions.names(code)[first], judge.names, numbers) < 1) for code in ("zh", "de", "ja")}
    languages = ", ".join(f"{code} {share:.2f}" for code, share in found.items())
    return (
        f"held-out drawings top-1 {scores.top1:.2f}, top-5 {scores.top5:.2f}, style {scores.style:.2f}; "
        f"names matched to the English one: {languages}"
    )


def _share(hits: Tensor) -> float:
    return float(hits.float().mean())
