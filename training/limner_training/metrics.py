"""What pictures are worth, as the image tower sees them: one home of every score that is printed of a generator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from limner_training.autoencoder import to_tensor
from limner_training.captions import CaptionTable
from limner_training.data import Dataset
from limner_worker.networks.image_tower import ImageTower, Seen

Draw = Callable[[Tensor, Tensor, int], Tensor]
"""Text [B, 384], style [B] and a seed to pictures [B, 3, 64, 64]; row i is drawn with seed + i."""


@dataclass(frozen=True)
class Scores:
    """Of a set of pictures; shares and cosines lie in 0 to 1.

    `top1`, `top5`: the right concept is the nearest, or among the five nearest, of all concepts' English names.
    `style`: the style is the one asked for. `frechet`: the distance of the features' Gaussians from those of the true
    drawings (Heusel et al. 2017). `diversity`: how far two seeds of one prompt are apart, over how far two prompts are.
    `nearest`: the mean cosine of the features with the nearest drawing that was trained on.
    """

    top1: float
    top5: float
    style: float
    frechet: float
    diversity: float | None
    nearest: float


class Judge:
    """The image tower, with every concept's name and all drawings as it sees them."""

    def __init__(self, tower: ImageTower, captions: CaptionTable, dataset: Dataset) -> None:
        """`captions` must have gone through the head that the tower was trained with."""
        self.tower = tower
        self.captions = captions
        self.dataset = dataset
        self.styles = torch.tensor([tower.styles.index(drawing.style) for drawing in dataset.drawings])
        _, first = np.unique(dataset.concepts, return_index=True)
        self.names = captions.names()[first]  # [concepts, 384]
        self.concepts = torch.from_numpy(dataset.concepts)
        self._drawn = self._look(to_tensor(dataset.small[: len(dataset.drawings)]))

    def of_pictures(self, pictures: Tensor, rows: np.ndarray, again: Tensor | None = None) -> Scores:
        """Score pictures [B, 3, 64, 64] that should show what the drawings `rows` show; `again`, with other seeds."""
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
        """Score the true drawings `rows`, or other ones, `shown`, in their place."""
        return self.of_pictures(to_tensor(self.dataset.small[rows if shown is None else shown]), rows)

    def _look(self, pictures: Tensor) -> Seen:
        with torch.no_grad():
            parts = [self.tower(part) for part in pictures.split(256)]
        return Seen(*(torch.cat(values) for values in zip(*parts, strict=True)))

    def _nearest(self, features: Tensor, rows: np.ndarray) -> float:
        known = F.normalize(self._drawn.features[self.dataset.training], dim=1)
        similarity = F.normalize(features, dim=1) @ known.T
        # A true drawing that was trained on is its own nearest, which would say nothing.
        similarity[torch.from_numpy(rows)[:, None] == torch.from_numpy(self.dataset.training)[None]] = -1
        return float(similarity.max(1).values.mean())


def ranks(queries: Tensor, names: Tensor, right: Tensor) -> Tensor:
    """For each query [B, 384], how many of the names [C, 384] are nearer than the right one: int64 [B]."""
    similarity = queries @ names.T
    return (similarity > similarity.gather(1, right[:, None])).sum(1)


def frechet(left: Tensor, right: Tensor) -> float:
    """The squared Fréchet distance of two sets of features [N, D], each taken for a Gaussian (Heusel et al. 2017)."""
    first, second = left.double(), right.double()
    both = torch.linalg.eigvals(torch.cov(first.T) @ torch.cov(second.T)).real.clamp_min(0).sqrt().sum()
    means = (first.mean(0) - second.mean(0)).square().sum()
    return max(0.0, float(means + first.var(0).sum() + second.var(0).sum() - 2 * both))


def diversity(left: Tensor, right: Tensor) -> float:
    """The mean distance between rows that belong together, over that between rows that do not."""
    together = (left - right).norm(dim=1).mean()
    apart = (left - right.roll(1, 0)).norm(dim=1).mean()
    return float(together / apart)


@torch.no_grad()
def describe(judge: Judge, draw: Draw, count: int = 96) -> str:
    """One line on a generator in training: how often its pictures are recognised, of known and of held-out pairs."""
    parts: list[str] = []
    random = np.random.default_rng(0)
    for name, rows in (("seen", judge.dataset.training), ("held-out", judge.dataset.held_out)):
        some = random.choice(rows, min(count, len(rows)), replace=False)
        scores = judge.of_pictures(draw(judge.captions.names()[some], judge.styles[some], 0), some)
        parts.append(f"{name} top-1 {scores.top1:.2f}, top-5 {scores.top5:.2f}, style {scores.style:.2f}")
    return "; ".join(parts)


def describe_towers(tower: ImageTower, captions: CaptionTable, dataset: Dataset) -> str:
    """One line on the towers in training: how often held-out drawings, and Chinese names, find their English names."""
    judge = Judge(tower, captions, dataset)
    scores = judge.of_drawings(dataset.held_out)
    _, first = np.unique(dataset.concepts, return_index=True)
    numbers = torch.arange(len(first))
    found = {code: _share(ranks(captions.names(code)[first], judge.names, numbers) < 1) for code in ("zh", "de", "ja")}
    languages = ", ".join(f"{code} {share:.2f}" for code, share in found.items())
    return (
        f"held-out drawings top-1 {scores.top1:.2f}, top-5 {scores.top5:.2f}, style {scores.style:.2f}; "
        f"names that find the English one: {languages}"
    )


def _share(hits: Tensor) -> float:
    return float(hits.float().mean())
