"""The format of a picture as a tagger reads it, where the rules do not know how it is said. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from limner_shared.domain.conditions import Conditions
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.reading.sizes import shape_among, shaped
from limner_worker.stages.interpretation.tagging.asking_words import Tagged, characters_of, mean_of, units_of
from limner_worker.stages.interpretation.tagging.leaving_out import runs

SURE: Final = 0.8
"""How likely words must name a format."""


def sized(
    tagged: Tagged, language: Language, sizes: Sequence[tuple[int, int]], read: Callable[[str], Conditions]
) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Return the size that a text surely names, as the rules `read` its words or by one of them, and where it does.

    None if it names none.
    """
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
