"""Puts the drawings of a scene's things in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from PIL import Image

from limner_shared.domain.scenes import Scene, SceneObject
from limner_worker.generators.base import Picture
from limner_worker.generators.builtin.scenes.arrangement import Head, arranged
from limner_worker.generators.builtin.scenes.backdrop import backdrop
from limner_worker.generators.builtin.scenes.colouring import named_colour, recoloured
from limner_worker.generators.builtin.scenes.cutouts import SOLID, Cutout, Plane, cut_out, paste

FOREHEAD: Final = 0.25
"""The height in a wearer's box at which its head is measured."""
COMPOSITION: Final = 3
"""The version of colouring and composing; receipts have it, and it changes whenever an equal scene has other pixels."""
ALONE_SIDE: Final = 64
"""The side at which the evaluator sees a thing alone,"""
ALONE_SHARE: Final = 0.94
"""and the share of it that the thing fills: about that of the drawings that the evaluator knows."""
INSTANCE_SEEDS: Final = 0x9E3779B9
"""The distance of the seeds of a picture's drawings; far, because neighbouring seeds are other pictures of the job."""


def drawing_seed(seed: int, place: int) -> int:
    """Return the seed of one of a picture's drawings; that of the first is the picture's."""
    return (seed + INSTANCE_SEEDS * place) % 2**32


class Composed(NamedTuple):
    """The picture of a scene, and the thing of each of its drawings in its colour."""

    picture: Picture
    cutouts: Sequence[Cutout]
    """None for a scene of one thing as it is, whose drawing is the picture."""


def composed(scene: Scene, drawings: Sequence[Picture], seed: int, side: int) -> Composed:
    """Return the picture [side, side, 3] of a scene, from as many drawings of its objects as `scene.drawings` says.

    An object with more instances than drawings shows some of them again, mirrored.
    """
    if scene.plain:
        return Composed(resized(drawings[0], side), ())
    objects = [each for each, drawn in zip(scene.objects, scene.drawings, strict=True) for _ in range(drawn)]
    cutouts = [_cut(drawing, each) for drawing, each in zip(drawings, objects, strict=True)]
    left = iter(cutouts)
    things = [
        thing
        for each, drawn in zip(scene.objects, scene.drawings, strict=True)
        for thing in _instances([next(left) for _ in range(drawn)], each.count)
    ]
    heads = {item: _head(thing) for item, thing in enumerate(things)}
    canvas = backdrop(scene.background, side, seed)
    for box in arranged(scene, [thing.aspect for thing in things], seed, heads):
        size = max(1, round(box.width * side)), max(1, round(box.height * side))
        paste(canvas, things[box.item], round(box.x * side), round(box.y * side), size)
    return Composed(_pixels(canvas), cutouts)


def alone(thing: Cutout) -> Picture:
    """Return a thing by itself on white, as large as the evaluator knows things: [ALONE_SIDE, ALONE_SIDE, 3]."""
    canvas = np.ones((ALONE_SIDE, ALONE_SIDE, 3), np.float32)
    longest = ALONE_SIDE * ALONE_SHARE / max(thing.alpha.shape)
    height, width = (max(1, round(length * longest)) for length in thing.alpha.shape)
    paste(canvas, thing, (ALONE_SIDE - width) // 2, (ALONE_SIDE - height) // 2, (width, height))
    return _pixels(canvas)


def _pixels(canvas: Plane) -> Picture:
    return (canvas.clip(0, 1) * 255).round().astype(np.uint8)


def resized(picture: Picture, side: int) -> Picture:
    """Return a picture at another size."""
    if picture.shape[0] == side:
        return picture
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS))


def _cut(drawing: Picture, of: SceneObject) -> Cutout:
    thing, colour = cut_out(drawing), of.colour or named_colour(of.name)
    if thing is None:
        return Cutout(np.ones((1, 1, 3), np.float32), np.zeros((1, 1), np.float32))
    return thing if colour is None else recoloured(thing, colour)


def _instances(drawn: Sequence[Cutout], count: int) -> list[Cutout]:
    again = [drawn[place % len(drawn)].mirrored() for place in range(count - len(drawn))]
    return [*drawn, *again]


def _head(thing: Cutout) -> Head:
    """Return where the top of a thing is, from what is solid there."""
    across = np.flatnonzero(thing.alpha[int(FOREHEAD * (thing.alpha.shape[0] - 1))] > SOLID)
    if not across.size:
        return Head()
    width = thing.alpha.shape[1]
    return Head(float(across[0] + across[-1] + 1) / 2 / width, float(across[-1] + 1 - across[0]) / width)
