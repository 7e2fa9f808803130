"""The number of pictures as a tagger reads it, where the rules do not know the words that say it. No I/O."""

from __future__ import annotations

from typing import Final

from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.number_words import number_in, number_pattern
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.reading.parsed import MOST
from limner_worker.stages.interpretation.reading.things import any_
from limner_worker.stages.interpretation.tagging.asking_words import Tagged, mean_of, units_of
from limner_worker.stages.interpretation.tagging.leaving_out import runs

SURE: Final = 0.9
"""How likely words must count pictures."""


def counted(tagged: Tagged, language: Language) -> tuple[int, tuple[int, int]] | None:
    """Return the number of pictures that a text surely asks for, and where its words are; None if it names none.

    A number without other words beside it may as well count what to draw ("three pigs").
    """
    number = number_pattern(language)
    measured = rf"{number}(?=\s?(?:{any_(language.pictures.times)}))"  # not "여섯 분", six persons
    pattern = expression(measured if language.unspaced else number)
    for span in runs(tagged.text, tagged.number, units_of(tagged.text, language)):
        words = tagged.text[slice(*span)]
        numbers = [each.group() for each in pattern.finditer(words)]
        values = {number_in(each, language) for each in numbers}
        if len(values) != 1 or mean_of(tagged.text, tagged.number, span) < SURE:
            continue
        [value] = values  # "a trio of three" says it twice
        beside = pattern.sub("", words)
        if value is not None and 1 < value <= MOST and any(each.isalpha() for each in beside):
            return value, span
    return None
