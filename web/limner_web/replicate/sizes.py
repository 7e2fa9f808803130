"""The size of a prediction that names an aspect ratio or megapixels, as Replicate's own models do."""

from __future__ import annotations

import math
import re
from typing import Final

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.picture_urls import MAX_SIDE
from limner_shared.domain.request_limits import refuse
from limner_shared.errors import InvalidRequest
from limner_web.fitted_sizes import Size, fitted

RATIO: Final = re.compile(r"([1-9]\d{0,3}):([1-9]\d{0,3})", re.ASCII)
MEGAPIXELS: Final = re.compile(r"(\d{1,3}(?:\.\d{1,4})?)(?: ?MP)?", re.IGNORECASE | re.ASCII)
NAMED: Final = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})", re.ASCII)
MEGAPIXEL: Final = 1024 * 1024
"""As popular models count it."""
SIDES: Final = 16
"""Of what the sides of a scaled picture are multiples."""
NEAR_RATIO: Final = 1.06
"""By which factor a size's ratio may differ from the named one: 1344x768 counts as 16:9."""
NEAR_AREA: Final = 1.35
"""By which factor a size's area may differ: 1024x1024 and 1216x832 count as one megapixel."""


def find(
    card: ModelCard, aspect_ratio: str | None, megapixels: str | None, *, fits: bool = False
) -> tuple[Size, Size | None]:
    """The size of the card that has this ratio, by default its usual one, and is nearest to these megapixels.

    If it has none, and it `fits` pictures: the size that is drawn, and the one to which they are scaled. Raises
    InvalidRequest.
    """
    usual = card.sizes[0]
    ratio = usual[0] / usual[1] if aspect_ratio is None else _ratio(card, aspect_ratio)
    area = usual[0] * usual[1] if megapixels is None else _area(card, megapixels)
    sizes = [size for size in card.sizes if _factor(size[0] / size[1], ratio) <= NEAR_RATIO]
    near = [size for size in sizes if megapixels is None or _factor(size[0] * size[1], area) <= NEAR_AREA]
    if near:
        return min(near, key=lambda size: (_factor(size[0] * size[1], area), _factor(size[0] / size[1], ratio))), None
    if fits and max(exact := _exact(ratio, area)) <= MAX_SIDE:
        return fitted(card, exact)
    if megapixels is None or not sizes:
        raise refuse("aspect_ratio", repr(aspect_ratio), ratios(card))
    raise _no_area(card, megapixels)


def read(name: str) -> Size:
    """The size that a text such as `1024x1024` names, (0, 0) for any other text."""
    found = NAMED.fullmatch(name)
    return (0, 0) if found is None else (int(found[1]), int(found[2]))


def _exact(ratio: float, area: float) -> Size:
    """The size of this ratio and area, with sides as the models of other services draw them."""
    width, height = math.sqrt(area * ratio), math.sqrt(area / ratio)
    return max(1, round(width / SIDES)) * SIDES, max(1, round(height / SIDES)) * SIDES


def names(card: ModelCard) -> list[str]:
    """The card's sizes, as the input `size` names them."""
    return [f"{width}x{height}" for width, height in card.sizes]


def ratios(card: ModelCard) -> list[str]:
    """The aspect ratios of the card's sizes, in lowest terms."""
    return list(dict.fromkeys(f"{w // math.gcd(w, h)}:{h // math.gcd(w, h)}" for w, h in card.sizes))


def _ratio(card: ModelCard, text: str) -> float:
    found = RATIO.fullmatch(text)
    if found is None:
        raise refuse("aspect_ratio", repr(text[:40]), ratios(card))
    return int(found[1]) / int(found[2])


def _area(card: ModelCard, text: str) -> float:
    """The pixels of a text such as `1`, `0.25` or `2 MP`."""
    found = MEGAPIXELS.fullmatch(text)
    if found is None or not float(found[1]):
        raise _no_area(card, text)
    return float(found[1]) * MEGAPIXEL


def _no_area(card: ModelCard, text: str) -> InvalidRequest:
    return refuse("megapixels", repr(text[:40]), f"those of this model's sizes, {', '.join(names(card))}")


def _factor(one: float, other: float) -> float:
    return max(one / other, other / one)
