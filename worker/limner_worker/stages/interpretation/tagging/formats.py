"""The format of a picture as a tagger reads it, where the rules do not know how it is said. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

from limner_shared.domain.conditions import Conditions
from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.files import NOTHING
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import Pattern
from limner_worker.stages.interpretation.reading.sizes import shape_among, shaped
from limner_worker.stages.interpretation.reading.things import any_, media_of
from limner_worker.stages.interpretation.tagging.asking_words import Tagged, characters_of, mean_of, units_of
from limner_worker.stages.interpretation.tagging.leaving_out import runs

_SHAPES: Final = ("square", "wide", "tall")
ASKED: Final = 0.5
"""How likely a picture of some format must be asked for, and not shown."""
SURE: Final = 0.8
"""How likely words must name a format."""


def sized(
    tagged: Tagged, language: Language, sizes: Sequence[tuple[int, int]], read: Callable[[str], Conditions]
) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Return the size that a text surely names, as the rules `read` its words or by one of them, and where it does.

    None if it names none.
    """
    for shape in _SHAPES:
        span, meant = _asked(shape, tagged, language), shaped(shape, sizes)
        if span is not None and meant is not None:
            return meant, span
    units = characters_of(tagged.text) if language.unspaced else units_of(tagged.text, language)
    for span in runs(tagged.text, tagged.size, units):
        words = tagged.text[slice(*span)]
        if mean_of(tagged.text, tagged.size, span) < SURE:
            continue
        found = read(words)
        if found.width is not None and found.height is not None:
            return (found.width, found.height), span
        shape = shape_among(words, language)
        if shape is not None and (meant := shaped(shape, sizes)) is not None:
            return meant, span
    return None


def _asked(shape: str, tagged: Tagged, language: Language) -> tuple[int, int] | None:
    """Return where a text asks for a picture of a shape: "we need a wide poster"; None if it does not."""
    found = (match.span() for match in _pictures(shape, language).finditer(tagged.text))
    return next((span for span in found if mean_of(tagged.text, tagged.asking, span) > ASKED), None)


@cache
def _pictures(shape: str, language: Language) -> Pattern:
    """Return a pattern of a word for a picture with a shape before or behind it."""
    words = rf"(?<!\w)(?:{any_(getattr(language.shapes, shape))})(?:{language.shapes.endings})"
    nouns = rf"(?:{any_(language.pictures.nouns)}|{any_(language.pictures.made_for)}|{media_of(language)})(?!\w)"
    return expression(NOTHING if language.unspaced else rf"{words}\s+{nouns}|(?<!\w){nouns}\s+{words}(?!\w)")
