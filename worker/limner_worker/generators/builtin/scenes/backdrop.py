"""Backgrounds of scenes: plain colours, a night, a sky, a meadow. NumPy only."""

from __future__ import annotations

from typing import Final

import numpy as np

from limner_shared.domain.scenes import Background, Surroundings
from limner_worker.generators.builtin.scenes.colouring import SHADES, from_oklab
from limner_worker.generators.builtin.scenes.cutouts import Plane

GRADIENTS: Final[dict[Surroundings, tuple[tuple[float, float, float], tuple[float, float, float]]]] = {
    "night": ((0.05, 0.07, 0.22), (0.16, 0.22, 0.48)),
    "sky": ((0.42, 0.72, 0.98), (0.82, 0.94, 1.0)),
    "grass": ((0.55, 0.80, 0.99), (0.87, 0.96, 1.0)),
}
"""The colours at the top and at the bottom."""
MEADOW: Final = ((0.52, 0.79, 0.36), (0.33, 0.63, 0.26))
HORIZON: Final = 0.6
STARS: Final = 26


def backdrop(background: Background, side: int, seed: int) -> Plane:
    """Return a background [side, side, 3] in [0, 1]."""
    if background == "white":
        return np.ones((side, side, 3), np.float32)
    if background not in ("night", "sky", "grass"):
        light, chroma, hue, *_ = SHADES[background]
        turned = np.radians(hue)
        lab = np.array([light, chroma * np.cos(turned), chroma * np.sin(turned)])
        return np.broadcast_to(from_oklab(lab), (side, side, 3)).copy()
    canvas = _gradient(*GRADIENTS[background], side, side)
    random = np.random.default_rng(seed)
    if background == "night":
        _stars(canvas, random)
    elif background == "sky":
        for x, y, size in ((0.2, 0.16, 0.13), (0.78, 0.3, 0.1), (0.45, 0.85, 0.12)):
            _cloud(canvas, x + random.uniform(-0.06, 0.06), y + random.uniform(-0.04, 0.04), size)
    else:
        _meadow(canvas, random)
    return canvas


def _gradient(top: tuple[float, float, float], bottom: tuple[float, float, float], height: int, width: int) -> Plane:
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    column = np.array(top, np.float32) * (1 - down) + np.array(bottom, np.float32) * down
    return np.broadcast_to(column, (height, width, 3)).copy()


def _stars(canvas: Plane, random: np.random.Generator) -> None:
    for x, y, size in zip(random.random(STARS), random.random(STARS), random.uniform(0.004, 0.009, STARS), strict=True):
        _blend(canvas, _disc(canvas, x, y, size), (1.0, 0.97, 0.82))


def _cloud(canvas: Plane, x: float, y: float, size: float) -> None:
    discs = [
        _disc(canvas, x + dx * size, y + dy * size, share * size)
        for dx, dy, share in ((-0.8, 0.15, 0.45), (0, -0.1, 0.62), (0.8, 0.12, 0.48))
    ]
    _blend(canvas, 0.85 * np.max(discs, axis=0), (1.0, 1.0, 1.0))


def _meadow(canvas: Plane, random: np.random.Generator) -> None:
    side = canvas.shape[0]
    across = np.linspace(0, 1, side)
    hill = HORIZON - 0.035 * np.sin(2 * np.pi * (0.8 * across + random.random()))
    below = ((np.linspace(0, 1, side)[:, None] - hill[None]) * side).clip(0, 1).astype(np.float32)
    canvas += below[..., None] * (_gradient(*MEADOW, side, side) - canvas)


def _disc(canvas: Plane, x: float, y: float, radius: float) -> Plane:
    """Return a disc's cover of each pixel; x, y and radius are shares of the side."""
    side = canvas.shape[0]
    axis = (np.arange(side, dtype=np.float32) + 0.5) / side
    distance = np.hypot(axis[None] - x, axis[:, None] - y)
    return ((radius - distance) * side + 0.5).clip(0, 1).astype(np.float32)


def _blend(canvas: Plane, cover: Plane, colour: tuple[float, float, float]) -> None:
    canvas += cover[..., None] * (np.array(colour, np.float32) - canvas)
