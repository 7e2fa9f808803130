"""The pictures that show what a model can draw, and how its styles look.

`python -m tools.model_pictures` draws them with the model itself and keeps only those that the evaluator recognizes. A
model without files has no pictures, and neither has an operator's card that replaces a built-in one.
"""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.catalogue import built_in_cards
from limner_web.pages import assets

THINGS: Final = (
    ("cat face", "3d"),
    ("octopus", "noto"),
    ("unicorn", "flat"),
    ("penguin", "3d"),
    ("butterfly", "noto"),
    ("sunflower", "flat"),
    ("mushroom", "noto"),
    ("strawberry", "3d"),
    ("pizza", "noto"),
    ("birthday cake", "flat"),
    ("rocket", "3d"),
    ("castle", "flat"),
    ("ghost", "3d"),
    ("guitar", "flat"),
)
"""Names that the built-in models know, each with the style of its picture."""
SCENES: Final = ("two cats and a tree", "three blue balloons")
"""Prompts of several things, for models that put pictures together."""
STYLE_SHOWN: Final = "red apple"
"""What the picture of each style shows."""


class Sample(NamedTuple):
    """A prompt, and the picture that a model drew for it."""

    prompt: str
    url: str


def file_of(model: str, name: str) -> str:
    """The path of a picture below `static/`."""
    return f"models/{model}/{name.replace(' ', '-')}.webp"


def style_file(model: str, style: str) -> str:
    """The path of a style's picture below `static/`."""
    return file_of(model, f"style {style}")


def samples(card: ModelCard) -> list[Sample]:
    """What a model drew; empty for one without pictures."""
    if not _is_built_in(card):
        return []
    found = assets.load()
    prompts = [*(thing for thing, _ in THINGS), *SCENES]
    return [Sample(each, found.url(file)) for each in prompts if (file := file_of(card.name, each)) in found.files]


def styles(card: ModelCard) -> dict[str, str]:
    """The address of a picture of each of the model's styles; empty unless every style has one."""
    found = assets.load()
    files = {style: style_file(card.name, style) for style in card.styles}
    if not _is_built_in(card) or not all(file in found.files for file in files.values()):
        return {}
    return {style: found.url(file) for style, file in files.items()}


@cache
def _built_in() -> dict[str, ModelCard]:
    return {card.name: card for card in built_in_cards()}


def _is_built_in(card: ModelCard) -> bool:
    """Whether a card is the one that the pictures were drawn with, and not only one of its name."""
    return card == _built_in().get(card.name)
