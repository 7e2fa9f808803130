"""Chooses the tasks' nouns: things whose true drawings the evaluator recognises and finds as one thing."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from limner_training import data
from limner_training.captions import plain_name
from limner_training.tasks.colours import LEAST_CHROMATIC, NEUTRAL, TERMS, shares_of
from limner_training.tasks.judging import TOP, Ranker, hues, shrunk
from limner_training.tasks.localising import crop, things_in
from limner_training.tasks.prompts import OTHER_LANGUAGES
from limner_training.tasks.true_drawings import SIDE, Sources, material_share, recoloured, rgba
from limner_training.tasks.vocabulary import Noun

Pixels = NDArray[np.uint8]
CATEGORIES: Final = frozenset(("Animals & Nature", "Food & Drink", "Travel & Places", "Objects", "Activities"))
SIGNS: Final = frozenset(
    ("flag", "button", "sign", "face", "arrow", "hand", "man", "woman", "person", "symbol", "heart", "clock", "o'clock")
)
"""Words in names of what is not a thing, or stands for many similar ones."""
_PLURAL: Final = re.compile(r"(?<![su])s$")
_ACTIVITY: Final = re.compile(r"\w{3}ing$")
LONGEST: Final = 2
"""The most words of a name."""
LEAST_STYLES: Final = 2
TRIED: Final = ("red", "yellow", "blue", "black")
LEAST_MATERIAL: Final = 0.5


def true_sources(folder: Path) -> tuple[dict[tuple[str, str], data.Drawing], Sources, set[tuple[str, str]]]:
    """Return all drawings, their sources and the held-out ones, by (concept, style).

    Raises DataError: the packages are missing and cannot be downloaded.
    """
    found = sorted(
        data.find_drawings(data.fetched(folder)), key=lambda pair: (pair[0].concept, data.STYLES.index(pair[0].style))
    )
    keys = [(drawing.concept, drawing.style) for drawing, _ in found]
    held_out = {keys[int(row)] for row in data.split(len(keys))}
    return (
        {key: drawing for key, (drawing, _) in zip(keys, found, strict=True)},
        {key: source for key, (_, source) in zip(keys, found, strict=True)},
        held_out,
    )


def choose(
    folder: Path, ranker: Ranker, on_progress: Callable[[int, int], None] = lambda _done, _total: None
) -> list[Noun]:
    """Return the nouns of all drawings in the packages below `folder`; `on_progress` receives (done, total)."""
    drawings, sources, held_out = true_sources(folder)
    names = {code: data.read_names(data.fetched(folder), code) for code in OTHER_LANGUAGES}
    concepts = list(dict.fromkeys(drawing.concept for drawing in drawings.values() if _is_thing(drawing)))
    found: list[Noun] = []
    for done, concept in enumerate(concepts):
        on_progress(done, len(concepts))
        of = {style: drawings[concept, style] for style in data.STYLES if (concept, style) in drawings}
        called = {code: plain_name(names[code].get(concept, ("", ()))[0]) for code in OTHER_LANGUAGES}
        seen = [style for style in of if (concept, style) not in held_out]
        if len(seen) < LEAST_STYLES or not all(called.values()):
            continue
        name = plain_name(next(iter(of.values())).name)
        pictures = [rgba(sources[concept, style]) for style in seen]
        if all(_clear(picture, name, ranker) for picture in pictures):
            others = tuple(style for style in of if style not in seen)
            colours, fit = _colours(pictures), _recolourable(pictures, name, ranker)
            found.append(Noun(concept, name, tuple(seen), others, colours, fit, called))
    return found


def on_white(picture: Pixels, side: int = SIDE) -> Pixels:
    """Return a drawing [H, W, 4] of `side` pixels in the middle of a white picture: uint8 [256, 256, 3]."""
    canvas = Image.new("RGBA", (SIDE, SIDE), "white")
    small = Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS)
    canvas.alpha_composite(small, ((SIDE - side) // 2,) * 2)
    return np.asarray(canvas.convert("RGB"))


def _is_thing(drawing: data.Drawing) -> bool:
    words = plain_name(drawing.name).replace(",", "").split()
    excluded = SIGNS | set(TERMS)  # "a red black bird"
    return (
        drawing.category in CATEGORIES and len(words) <= LONGEST and not excluded & set(words) and is_count(words[-1])
    )


def is_count(word: str) -> bool:
    """Return whether an English noun's form is that of one thing: no plural, activity or time of day."""
    return not (_PLURAL.search(word) or _ACTIVITY.search(word) or word.endswith("-thirty"))


def _clear(picture: Pixels, name: str, ranker: Ranker) -> bool:
    """Return whether a drawing is recognised as it is, and at less than half the size found as one known thing."""
    if ranker(shrunk(on_white(picture))[None], [name]).min() > 0:
        return False
    small = on_white(picture, 104)
    things = things_in(small)
    return len(things) == 1 and int(ranker(crop(small, things[0])[None], [name]).min()) < TOP


def _colours(pictures: Sequence[Pixels]) -> tuple[str, ...]:
    """Return every colour that covers an important part of one of the drawings."""
    found: set[str] = set()
    for picture in pictures:
        shares = shares_of(picture[picture[..., 3] > 200][:, :3])
        most = max(shares, key=lambda term: shares[term])
        found |= {term for term, share in shares.items() if share >= LEAST_CHROMATIC and term not in NEUTRAL} | {most}
    return tuple(sorted(found))


def _recolourable(pictures: Sequence[Pixels], name: str, ranker: Ranker) -> bool:
    """Return whether each drawing is mostly of one material, and the first is recognised in other colours."""
    if min(material_share(picture) for picture in pictures) < LEAST_MATERIAL:
        return False
    views = [hues(shrunk(on_white(recoloured(pictures[0], colour)))) for colour in TRIED]
    return all(int(ranker(each, [name]).min()) < TOP for each in views)
