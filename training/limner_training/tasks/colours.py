"""Colours of pixels: CIELAB, and the nearest of the eleven basic colour terms (Berlin & Kay 1969)."""

from __future__ import annotations

import re
from functools import cache
from typing import Final, cast

import numpy as np
from matplotlib.colors import XKCD_COLORS, to_rgb
from numpy.typing import NDArray

Array = NDArray[np.float64]
TERMS: Final = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "grey", "white")
NEUTRAL: Final = frozenset(("black", "grey", "white"))
LEAST_CHROMATIC: Final = 0.25
"""The share of a thing from which a chromatic colour is its colour, even if outlines or highlights cover more."""
_MODIFIERS: Final = (
    "light|dark|bright|pale|deep|medium|dull|vivid|strong|true|dusty|faded|soft|pastel|off|very|charcoal"
)
_NAMED: Final = re.compile(rf"xkcd:(?:(?:{_MODIFIERS})[ -])*(?P<term>{'|'.join(TERMS)})")
_TO_XYZ: Final = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_WHITE: Final = _TO_XYZ.sum(1)
_EPSILON, _KAPPA = 216 / 24389, 24389 / 27


def to_lab(pixels: NDArray[np.uint8]) -> Array:
    """Convert sRGB uint8 [..., 3] to CIELAB under D65: lightness 0 to 100, a and b."""
    encoded = pixels / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    ratios = linear @ _TO_XYZ.T / _WHITE
    cubes = cast("Array", np.where(ratios > _EPSILON, np.cbrt(ratios), (_KAPPA * ratios + 16) / 116))
    x, y, z = cubes[..., 0], cubes[..., 1], cubes[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def from_lab(lab: Array) -> NDArray[np.uint8]:
    """Convert CIELAB [..., 3] to sRGB uint8; colours outside its gamut are clipped."""
    y = (lab[..., 0] + 16) / 116
    cubes = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], -1)
    xyz = np.where(cubes**3 > _EPSILON, cubes**3, (116 * cubes - 16) / _KAPPA) * _WHITE
    linear = np.clip(xyz @ np.linalg.inv(_TO_XYZ).T, 0, 1)
    encoded = cast("Array", np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))
    return np.rint(255 * encoded).astype(np.uint8)


@cache
def prototypes() -> tuple[Array, NDArray[np.int64]]:
    """Return CIELAB colours [N, 3] that people named by a basic term, and the index of each one's term.

    They are the names of the XKCD colour survey that consist of a term and words such as "light" or "dark".
    """
    named = [(match["term"], value) for name, value in XKCD_COLORS.items() if (match := _NAMED.fullmatch(name))]
    rgb = np.array([to_rgb(value) for _, value in named])
    return to_lab(np.rint(255 * rgb).astype(np.uint8)), np.array([TERMS.index(term) for term, _ in named])


def focal(term: str) -> Array:
    """Return the CIELAB colour [3] that is named by the term alone."""
    return to_lab(np.rint(255 * np.array(to_rgb(f"xkcd:{term}"))).astype(np.uint8))


def terms_of(lab: Array) -> NDArray[np.int64]:
    """Return the index of the nearest term of each colour [N, 3] in CIELAB: int64 [N]."""
    colours, term = prototypes()
    squared = (lab**2).sum(1)[:, None] - 2 * lab @ colours.T + (colours**2).sum(1)
    return term[squared.argmin(1)]


def shares_of(pixels: NDArray[np.uint8]) -> dict[str, float]:
    """Return the share of each term among pixels [N, 3]."""
    counts = np.bincount(terms_of(to_lab(pixels)), minlength=len(TERMS))
    return dict(zip(TERMS, (counts / max(1, len(pixels))).tolist(), strict=True))


def colour_of(pixels: NDArray[np.uint8]) -> str:
    """Return the term of the dominant material of a thing with the pixels [N, 3].

    That is the most frequent chromatic term if it covers `LEAST_CHROMATIC`, since outlines, shadows and highlights are
    neutral in things of every colour; otherwise the most frequent term.
    """
    shares = shares_of(pixels)
    chromatic = max(shares.keys() - NEUTRAL, key=lambda term: (shares[term], term))
    return chromatic if shares[chromatic] >= LEAST_CHROMATIC else max(shares, key=lambda term: shares[term])
