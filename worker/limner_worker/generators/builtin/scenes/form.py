"""The form of black and white things: a light edge, a shaded contour, and details that stay visible. NumPy only."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from limner_worker.generators.builtin.scenes.cutouts import SOLID, blurred, filled, grown

Values = NDArray[np.float64]  # [h, w]
Mask = NDArray[np.bool_]

EDGE: Final = 0.045
"""The width of an edge, as a share of the longer side."""
LIGHT: Final = 0.3
"""How much lighter a black thing is where its edge faces the light, above on the left."""
CONTOUR: Final = 0.14
"""How much darker a white thing is at its edge,"""
SHADE: Final = 0.12
"""and how much more where it turns from the light."""
FACING: Final = (0.8, 0.6)
"""Where the light comes from: (down, across) of what faces it."""
DETAIL_LIGHT: Final = 0.9
"""The lightness of a black thing's eyes."""
MOST_DETAIL: Final = 0.08
"""The most of a thing that its details cover."""
DEEPEST: Final = 0.12
"""How far a detail's middle may be from its edge, as a share of the longer side."""
SOFT: Final = 2
"""Pixels at a detail's edge that are mixed with the material."""


def lit(lightness: Values, material: Values, dark: Mask, alpha: Values) -> Values:
    """Return the lightness [h, w] of a black thing with light edges, and with light details where it is `dark`."""
    light = lightness + LIGHT * material * _edge(alpha, facing=True)
    return _with_details(light, material, dark, alpha)


def contoured(lightness: Values, material: Values, alpha: Values) -> Values:
    """Return the lightness [h, w] of a white thing with a contour of shade."""
    shade = CONTOUR * _edge(alpha, facing=False) + SHADE * _edge(alpha[::-1, ::-1], facing=True)[::-1, ::-1]
    return lightness - material * shade


def _edge(alpha: Values, *, facing: bool) -> Values:
    """Return how much each pixel is at an edge, from 0 to 1; with `facing`, at one that faces the light."""
    reach = max(1, round(EDGE * max(alpha.shape)))
    soft = np.pad(alpha, 3 * reach)
    for _ in range(2):
        soft = _mean(soft, reach)
    down, across = np.gradient(soft, axis=0), np.gradient(soft, axis=1)
    slope = FACING[0] * down + FACING[1] * across if facing else np.hypot(down, across)
    inner = slope[3 * reach : -3 * reach, 3 * reach : -3 * reach] * (2 * reach + 1)
    return (inner / 0.6).clip(0, 1)


def _with_details(lightness: Values, material: Values, dark: Mask, alpha: Values) -> Values:
    """Return the lightness with dark details light: those inside the material, as eyes are, not at the thing's edge."""
    solid = alpha > SOLID
    dark = dark & solid
    outside = np.pad(~solid, 1, constant_values=True)
    beside = outside[:-2, 1:-1] | outside[2:, 1:-1] | outside[1:-1, :-2] | outside[1:-1, 2:]
    detail = dark & ~filled(dark & beside, dark)
    if not 0 < detail.sum() <= MOST_DETAIL * solid.sum():
        return lightness
    share = detail * ((_continued(material, grown(detail, SOFT)) - 0.5) / 0.2).clip(0, 1)
    return lightness + share * (DETAIL_LIGHT - 1.5 * lightness)


def _continued(plane: Values, into: Mask) -> Values:
    """Return a plane whose values around a mask are continued into it, so that each spot has those at its edge."""
    known = (~into).astype(np.float64)
    found = plane * known
    for _ in range(round(DEEPEST * max(plane.shape))):
        near = blurred(known)
        new = (known == 0) & (near > 0)
        if not new.any():
            break
        found[new] = blurred(found)[new] / near[new]
        known[new] = 1
    return found


def _mean(plane: Values, reach: int) -> Values:
    """Return the mean of the square of 2 `reach` + 1 pixels around each pixel; outside the plane are zeros."""
    size = 2 * reach + 1
    sums = np.pad(plane, ((reach + 1, reach), (reach + 1, reach))).cumsum(0).cumsum(1)
    return (sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]) / size**2
