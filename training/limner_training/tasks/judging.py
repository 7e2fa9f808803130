"""The judge of the tasks' pictures: the image tower for what things are, plain measurement for colour, number, place.

The tower was trained on true drawings only; it never saw a generator's picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from limner_training.tasks.colours import colour_of, from_lab, to_lab
from limner_training.tasks.localising import CROP, Thing, crop, things_in
from limner_training.tasks.prompts import COLOURED, TaskPrompt, Wanted
from limner_worker.networks.image_tower import ImageTower

Pixels = NDArray[np.uint8]
TOP: Final = 5
HUES: Final = 8
"""The hues in which a recoloured thing is compared with the names; it is judged by the best of them, and in grey."""


@dataclass(frozen=True)
class Verdict:
    """What the judge found in one picture."""

    right: bool
    """Everything that the task asks for."""
    recognised: bool
    """All nouns were found, each in a thing of its own, whatever their colour, number or place."""
    top1: bool
    """The same with the noun as the nearest of all names."""
    things: int
    """The number of separate things."""


@dataclass(frozen=True)
class DetectedThing:
    """One thing in a picture: the rank of each wanted noun among all names, and its colour."""

    ranks: tuple[int, ...]
    colour: str
    centre: tuple[float, float]


class Ranker:
    """The evaluator's tower and the embeddings [N, 384] of all names, by the text head that it was trained with."""

    def __init__(self, tower: ImageTower, names: Sequence[str], embeddings: Tensor) -> None:
        """Take the names in the order of their embeddings."""
        self._tower = tower
        self._embeddings = embeddings
        self._places = {name: place for place, name in enumerate(names)}

    @torch.inference_mode()
    def __call__(self, pictures: Pixels, names: Sequence[str]) -> NDArray[np.int64]:
        """Return how many names are nearer to each picture [N, 64, 64, 3] than each of `names`: int64 [N, names]."""
        pixels = torch.as_tensor(pictures.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
        cosines = self._tower(pixels).concept @ self._embeddings.T
        right = cosines[:, [self._places[name] for name in names]]
        return (cosines[:, :, None] > right[:, None]).sum(1).numpy()


class TaskJudge:
    """Judges pictures by a ranker."""

    def __init__(self, ranker: Ranker) -> None:
        self._ranks = ranker

    def verdict(self, picture: Pixels, prompt: TaskPrompt) -> Verdict:
        """Judge one picture [H, W, 3] by a prompt."""
        things = things_in(picture)
        nouns = [wanted.noun.name for wanted in prompt.wanted]
        if prompt.task in {"seen", "held out", "in sentences"}:
            whole = self._ranks(shrunk(picture)[None], nouns)[:, 0]
            located = [found.ranks[0] for found in self._found(picture, things, nouns, prompt)]
            best = min(int(whole.min()), *located) if located else int(whole.min())
            return Verdict(best < TOP, best < TOP, best < 1, len(things))
        found = self._found(picture, things, nouns, prompt)
        return Verdict(_right(found, prompt), _matches(found, prompt, TOP), _matches(found, prompt, 1), len(things))

    def _found(
        self, picture: Pixels, things: Sequence[Thing], nouns: Sequence[str], prompt: TaskPrompt
    ) -> list[DetectedThing]:
        found: list[DetectedThing] = []
        for thing in things[:8]:
            cut = crop(picture, thing)
            views = hues(cut) if prompt.task in COLOURED else cut[None]
            ranks = tuple(self._ranks(views, nouns).min(0).tolist())
            found.append(DetectedThing(ranks, colour_of(picture[thing.mask]), thing.centre))
        return found


def shrunk(picture: Pixels) -> Pixels:
    """Return a whole picture at the evaluator's size: uint8 [64, 64, 3]."""
    pixels = torch.as_tensor(picture.copy()).permute(2, 0, 1)[None].float()
    return F.adaptive_avg_pool2d(pixels, CROP)[0].round().byte().permute(1, 2, 0).numpy()


def hues(cut: Pixels) -> Pixels:
    """Return a crop as it is, in other hues and in grey: uint8 [1 + HUES, 64, 64, 3]."""
    lab = to_lab(cut)
    turned = [lab]
    for turn in range(1, HUES):
        angle = 2 * np.pi * turn / HUES
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        turned.append(np.concatenate([lab[..., :1], lab[..., 1:] @ rotation.T], -1))
    turned.append(lab * [1, 0, 0])
    return np.stack([cut, *(from_lab(each) for each in turned[1:])])


def _matches(found: Sequence[DetectedThing], prompt: TaskPrompt, top: int) -> bool:
    """Return whether each wanted noun is among the `top` nearest names of a thing of its own."""
    return any(all(_is(thing, at, top) for at, thing in enumerate(chosen)) for chosen in _assignments(found, prompt))


def _right(found: Sequence[DetectedThing], prompt: TaskPrompt) -> bool:
    if prompt.task == "counting":
        return len(found) == prompt.number and all(_is(thing, 0, TOP) for thing in found)
    return any(
        all(_is(thing, at, TOP) and _coloured(thing, wanted) for at, (thing, wanted) in enumerate(pairs))
        and related(prompt.relation, [thing.centre for thing in chosen])
        for chosen in _assignments(found, prompt)
        if (pairs := list(zip(chosen, prompt.wanted, strict=True)))
    )


def related(relation: str | None, centres: Sequence[tuple[float, float]]) -> bool:
    """Return whether the first centre (down, across) stands in the relation to the second, mostly in that direction."""
    if relation is None:
        return True
    down, across = centres[1][0] - centres[0][0], centres[1][1] - centres[0][1]
    toward = {"left": (across, down), "right": (-across, down), "above": (down, across), "below": (-down, across)}
    along, beside = toward[relation]
    return along > abs(beside)


def _assignments(found: Sequence[DetectedThing], prompt: TaskPrompt) -> Iterable[tuple[DetectedThing, ...]]:
    return permutations(found, len(prompt.wanted))


def _is(thing: DetectedThing, at: int, top: int) -> bool:
    return thing.ranks[at] < top


def _coloured(thing: DetectedThing, wanted: Wanted) -> bool:
    return wanted.colour is None or thing.colour == wanted.colour
