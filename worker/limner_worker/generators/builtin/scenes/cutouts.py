"""Things cut out of their white backgrounds, and pasted onto a canvas. NumPy only; pixels are RGB in [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from limner_worker.generators.base import Picture

Plane = NDArray[np.floating[Any]]
"""[height, width] or [height, width, 3]."""
Mask = NDArray[np.bool_]

WHITE_WITHIN: Final = (0.06, 0.03)
"""How far from white a background may be. Drawings end in a haze of up to 0.04, but white things may be as pale."""
LEAK: Final = 1.2
"""If the closer limit finds this multiple of the thing, the wider one has reached into a pale thing."""
BROKEN: Final = 1.35
"""If this multiple of the thing has something drawn on all four sides, its outline is broken and it is white inside."""
PALE: Final = 0.15
"""Parts without a pixel of this contrast are specks, unless the thing has no other."""
EDGE: Final = 3
"""Pixels at a thing's edge that are mixed with the background."""
REACH: Final = 8
"""Pixels over which the colours inside replace those of the edge."""
LEAST_CONTRAST: Final = 0.25
"""A colour this near to white tells nothing about how much background is mixed into it."""
FULL: Final = 0.85
"""In thin parts, pixels with this share of the strongest contrast nearby are not mixed."""
SOLID: Final = 0.5


@dataclass(frozen=True)
class Cutout:
    """A thing without its background, cropped to what can be seen of it."""

    colour: Plane  # float32 [h, w, 3]
    alpha: Plane  # float32 [h, w]

    @property
    def aspect(self) -> float:
        """Width divided by height."""
        return self.alpha.shape[1] / self.alpha.shape[0]

    def mirrored(self) -> Cutout:
        """Return the thing facing the other way."""
        return Cutout(self.colour[:, ::-1], self.alpha[:, ::-1])


def cut_out(picture: Picture) -> Cutout | None:
    """Return the thing in a picture [h, w, 3] with a white background; None if there is nothing."""
    colour = picture.astype(np.float32) / 255
    solid = _thing(1 - colour.min(axis=2))
    if not solid.any():
        return None
    alpha, inner = _edges(colour, solid)
    rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
    area = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Cutout(inner[area], alpha[area])


def paste(canvas: Plane, thing: Cutout, left: int, top: int, size: tuple[int, int]) -> None:
    """Draw a thing onto a canvas [h, w, 3], scaled to `size` (width, height) in pixels."""
    colour, alpha = _scaled(thing, size)
    height, width, _ = canvas.shape
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + size[0], width), min(top + size[1], height)
    if x0 >= x1 or y0 >= y1:
        return
    part = np.s_[y0 - top : y1 - top, x0 - left : x1 - left]
    there = canvas[y0:y1, x0:x1]
    there *= 1 - alpha[part][..., None]
    there += colour[part]


def _scaled(thing: Cutout, size: tuple[int, int]) -> tuple[Plane, Plane]:
    """Return colours, multiplied by alpha so that no background seeps in, and alpha at another size."""
    planes = [*np.moveaxis(thing.colour * thing.alpha[..., None], 2, 0), thing.alpha]
    scaled = [np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.LANCZOS)) for plane in planes]
    alpha = scaled[3].clip(0, 1)
    return np.stack(scaled[:3], axis=2).clip(0, alpha[..., None]), alpha


def _thing(contrast: Plane) -> Mask:
    """Return the pixels of the thing: all that white does not reach from the border, without specks."""
    solid, *closer = (~_reached(contrast < limit) for limit in WHITE_WITHIN)
    for other in closer:
        if other.sum() > LEAK * solid.sum():
            solid = other
    body = _enclosed(contrast >= WHITE_WITHIN[0])
    if body.sum() > BROKEN * solid.sum():
        solid = solid | body
    seeds = _eroded(solid, EDGE - 1) & (contrast > PALE)
    return filled(seeds, solid) if seeds.any() else solid


def _enclosed(drawn: Mask) -> Mask:
    """Return the pixels that have drawn ones on all four sides: the body of a white thing whose outline is broken."""
    sides = [
        np.maximum.accumulate(drawn, axis=1),
        np.maximum.accumulate(drawn[:, ::-1], axis=1)[:, ::-1],
        np.maximum.accumulate(drawn, axis=0),
        np.maximum.accumulate(drawn[::-1], axis=0)[::-1],
    ]
    return np.logical_and.reduce(sides)


def _edges(colour: Plane, solid: Mask) -> tuple[Plane, Plane]:
    """Return alpha, and colours without background: at the edge, those of the nearest pixels inside."""
    inside = _eroded(solid, EDGE)
    contrast = 1 - colour.min(axis=2)
    thin = solid & ~grown(inside, EDGE + 1) & (contrast >= FULL * _strongest(contrast, EDGE))
    inner = _extended(colour, inside | thin, solid)
    lack = 1 - inner
    strength = (lack**2).sum(axis=2)
    mixed = ((1 - colour) * lack).sum(axis=2) / np.maximum(strength, 1e-6)
    soft = blurred(solid.astype(np.float32))
    alpha = np.where(strength > LEAST_CONTRAST**2, mixed.clip(0, 1), (2 * soft - 1).clip(0, 1))
    return np.where(inside | thin, 1, np.where(solid, alpha, 0)).astype(np.float32), inner


def _extended(colour: Plane, inside: Mask, solid: Mask) -> Plane:
    """Return the colours inside, continued to the rest of the thing."""
    filled = inside[..., None] * colour
    weight = inside.astype(np.float32)
    for _ in range(REACH):
        grown = blurred(weight)
        new = (weight == 0) & (grown > 0) & solid
        if not new.any():
            break
        filled[new] = blurred(filled)[new] / grown[new][:, None]
        weight[new] = 1
    return np.where((weight == 0)[..., None], colour, filled).astype(np.float32)


def _reached(passable: Mask) -> Mask:
    """Return the pixels that are connected to the picture's border through passable ones."""
    border = np.ones_like(passable)
    border[1:-1, 1:-1] = False
    return filled(border & passable, passable)


def filled(seeds: Mask, passable: Mask) -> Mask:
    """Return the pixels that are connected to seeds through passable ones, alternately along rows and columns."""
    reached = seeds
    while True:
        before = reached.sum()
        reached = _along_rows(_along_rows(reached, passable).T, passable.T).T
        if reached.sum() == before:
            return reached


def _along_rows(reached: Mask, passable: Mask) -> Mask:
    """Return the runs of passable pixels in each row that contain a reached one."""
    height, width = passable.shape
    starts = passable & ~np.pad(passable, ((0, 0), (1, 0)))[:, :width]
    runs = np.cumsum(starts.ravel()).reshape(height, width)
    touched = np.zeros(runs[-1, -1] + 1, bool)
    touched[runs[reached]] = True
    return passable & touched[runs]


def _eroded(mask: Mask, times: int) -> Mask:
    return ~grown(~mask, times)


def grown(mask: Mask, times: int) -> Mask:
    """Return a mask with all pixels that are at most `times` steps from it."""
    for _ in range(times):
        padded = np.pad(mask, 1)
        mask = mask | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return mask


def _strongest(plane: Plane, times: int) -> Plane:
    """Return the largest value within `times` pixels."""
    for _ in range(times):
        padded = np.pad(plane, 1)
        rows = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])
        plane = np.maximum(np.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
    return plane


def blurred(plane: Plane) -> Plane:
    """Return the mean of each pixel [h, w] or [h, w, 3] and its eight neighbours."""
    padded = np.pad(plane, ((1, 1), (1, 1), *((0, 0) for _ in plane.shape[2:])))
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9
