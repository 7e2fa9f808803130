"""Recolours a thing: the hue of its main material is turned to a named colour, in the perceptual space OKLab.

OKLab: Björn Ottosson, "A perceptual color space for image processing" (2020). Light, shade and all other materials
(eyes, a mouth, wheels) are kept.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from limner_shared.domain.scenes import Colour
from limner_worker.generators.builtin.scenes.cutouts import SOLID, Cutout, Plane, blurred
from limner_worker.generators.builtin.scenes.form import contoured, lit


class Shade(NamedTuple):
    """A colour as lightness, chroma and hue in degrees, and the lightnesses between which it keeps its name."""

    lightness: float
    chroma: float
    hue: float
    darkest: float = 0.06
    lightest: float = 0.99


SHADES: Final[dict[Colour, Shade]] = {
    "red": Shade(0.60, 0.22, 27, 0.30, 0.80),
    "orange": Shade(0.74, 0.17, 58, 0.63, 0.90),
    "yellow": Shade(0.88, 0.17, 97, 0.72, 0.98),
    "green": Shade(0.66, 0.18, 143, 0.25, 0.92),
    "blue": Shade(0.58, 0.18, 256, 0.25, 0.86),
    "purple": Shade(0.54, 0.20, 304, 0.25, 0.82),
    "pink": Shade(0.78, 0.14, 355, 0.60, 0.95),
    "brown": Shade(0.45, 0.08, 52, 0.20, 0.66),
    "black": Shade(0.16, 0.00, 0, 0.04, 0.62),
    "white": Shade(0.97, 0.00, 0, 0.70, 1.0),
    "grey": Shade(0.66, 0.00, 0, 0.36, 0.90),
}
GREY: Final = 0.045
"""Below this chroma a pixel has no hue."""
TINT: Final = 0.07
"""Below this chroma a pixel is tinted. A thing of which most is tinted at most has no main hue."""
PAPER: Final = 0.965
"""A grey above this lightness is a hole or a light, unless most of the thing is so light."""
LEAST_COLOURED: Final = 0.25
"""A thing of which less has a hue is recoloured where it has none."""
SPREAD: Final = 55.0
"""Degrees from the main hue up to which a pixel is of the main material; it fades out over the next third."""
NEAR: Final = 18.0
"""A thing whose main hue is this near to the wanted one, and about as light, keeps its colours."""
CONTRAST: Final = 0.85
"""The share of a material's light and shade that is kept."""
DARK: Final = 0.42
"""Below this lightness are outlines, eyes and wheels,"""
OUTLINE: Final = 0.2
"""if they are this much darker than the material."""
SAME_LIGHT: Final = 0.1
"""Lightnesses this near to each other look alike."""
SRGB_KNEE: Final = 0.04045
LINEAR_KNEE: Final = 0.0031308
_LMS: Final = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LAB: Final = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
Lab = NDArray[np.float64]


def recoloured(thing: Cutout, colour: Colour) -> Cutout:
    """Return the thing with its main material in a colour; the thing itself if it has that colour already."""
    lab = to_oklab(thing.colour)
    lightness, chroma = lab[..., 0], np.hypot(lab[..., 1], lab[..., 2])
    hue = np.degrees(np.arctan2(lab[..., 2], lab[..., 1])) % 360
    alpha = thing.alpha.astype(np.float64)
    solid = alpha > SOLID
    weight, main = _material(lightness, chroma, hue, solid)
    weight = blurred(weight * solid) / np.maximum(blurred(solid.astype(np.float64)), 1 / 9)  # without speckles
    wanted = SHADES[colour]
    if _is_like(main, wanted):
        return thing
    shade = wanted.lightness + _offsets(lightness - main.lightness, wanted)
    strength = np.clip(chroma / max(main.chroma, GREY), 0.5, 1.3) if main.chroma >= GREY else np.ones_like(chroma)
    # A grey material has no hue of its own: the tints in it differ from nothing.
    offset = _apart(hue, main.hue) * (chroma >= GREY) if main.chroma >= GREY else np.zeros_like(hue)
    turned = np.radians(wanted.hue + 0.25 * offset)
    strength = strength * wanted.chroma * np.clip((1 - shade) / max(1 - wanted.lightness, 0.1), 0.3, 1)
    new = np.stack([shade, strength * np.cos(turned), strength * np.sin(turned)], axis=-1)
    turned_lab = lab + weight[..., None] * (new - lab)
    if colour == "black":
        details = lightness < min(DARK, main.lightness - OUTLINE)
        turned_lab[..., 0] = lit(turned_lab[..., 0], weight, details, alpha)
    elif colour == "white":
        turned_lab[..., 0] = contoured(turned_lab[..., 0], weight, alpha)
    return replace(thing, colour=from_oklab(turned_lab))


def named_colour(name: str) -> Colour | None:
    """Return the colour with which a name begins, as "black cat" does."""
    first = name.split(" ", 1)[0]
    return next((colour for colour in SHADES if colour == first), None)


def to_oklab(colour: Plane) -> Lab:
    """Convert sRGB [..., 3] in [0, 1] to OKLab."""
    linear = np.where(colour <= SRGB_KNEE, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ _LMS.T) @ _LAB.T


def from_oklab(lab: Lab) -> Plane:
    """Convert OKLab to sRGB [..., 3], clipped to [0, 1]."""
    linear = ((lab @ np.linalg.inv(_LAB).T) ** 3 @ np.linalg.inv(_LMS).T).clip(0, 1)
    return np.where(linear <= LINEAR_KNEE, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055).astype(np.float32)


def _material(lightness: Lab, chroma: Lab, hue: Lab, solid: NDArray[np.bool_]) -> tuple[Lab, Shade]:
    """Return how much of each pixel is the main material, and that material's shade."""
    coloured = solid & (chroma >= GREY)
    if (solid & (chroma >= TINT)).sum() < LEAST_COLOURED * solid.sum():
        return _grey(lightness, chroma, solid)
    marks, edges = np.histogram(hue[coloured], bins=36, range=(0, 360), weights=np.sqrt(chroma[coloured]))
    smooth = marks + 0.7 * (np.roll(marks, 1) + np.roll(marks, -1))
    peak = float(edges[int(smooth.argmax())] + 5)
    near = np.abs(_apart(hue, peak))
    chosen = coloured & (near < SPREAD)
    middle = float(peak + np.median(_apart(hue[chosen], peak)))
    weight = ((SPREAD * 4 / 3 - np.abs(_apart(hue, middle))) / (SPREAD / 3)).clip(0, 1)
    weight *= ((chroma - GREY / 3) / (GREY / 2)).clip(0, 1)
    return weight, Shade(float(np.median(lightness[chosen])), float(np.median(chroma[chosen])), middle)


def _grey(lightness: Lab, chroma: Lab, solid: NDArray[np.bool_]) -> tuple[Lab, Shade]:
    """Return how much of each pixel is grey or tinted, and that material's shade: no outlines, holes or lights."""
    weight = ((2 * TINT - chroma) / (0.6 * TINT)).clip(0, 1)
    middle = float(np.median(lightness[solid]))
    weight *= ((lightness - min(DARK, middle - OUTLINE)) / 0.1).clip(0, 1)
    if middle <= PAPER - SAME_LIGHT:
        weight *= ((PAPER + 0.02 - lightness) / 0.04).clip(0, 1)
    chosen = solid & (weight > SOLID)
    return weight, Shade(float(np.median(lightness[chosen if chosen.any() else solid])), 0.0, 0.0)


def _is_like(main: Shade, wanted: Shade) -> bool:
    if abs(main.lightness - wanted.lightness) >= SAME_LIGHT:
        return False
    if wanted.chroma == 0:
        return main.chroma == 0
    return main.chroma > 0.75 * wanted.chroma and abs(float(_apart(np.array(main.hue), wanted.hue))) < NEAR


def _apart(hue: Lab, other: float) -> Lab:
    """Return differences of hues in [-180, 180)."""
    return (hue - other + 180) % 360 - 180


def _offsets(offsets: Lab, wanted: Shade) -> Lab:
    """Return a material's light and shade around its new lightness, compressed towards the colour's limits."""
    up, down = wanted.lightest - wanted.lightness, wanted.lightness - wanted.darkest
    return np.where(offsets > 0, up * np.tanh(CONTRAST * offsets / up), down * np.tanh(CONTRAST * offsets / down))
