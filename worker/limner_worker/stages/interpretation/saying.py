"""Whether a text says what a language model found in it. No I/O."""

from __future__ import annotations

import re
from typing import Final

from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.detection import language_or_fallback
from limner_worker.stages.interpretation.language.files import BY_CODE, FALLBACK
from limner_worker.stages.interpretation.language.number_words import number_in, number_pattern
from limner_worker.stages.interpretation.language.texts import WIDE
from limner_worker.stages.interpretation.reading import patterns
from limner_worker.stages.interpretation.reading.things import any_

READ: Final = 1500
"""The characters of a text that are searched."""


def says_number(text: str, number: int | None) -> bool:
    """Return whether a text names a number, in digits or words, or an indefinite one ("several")."""
    language = language_or_fallback(text)
    found = expression(number_pattern(language)).finditer(text[:READ])
    if any(number_in(each.group(), language) == number for each in found):
        return True
    return expression(rf"(?<!\w)(?:{any_(language.pictures.quantities)})(?!\w)").search(text[:READ]) is not None


def says_size(text: str, size: tuple[int | None, int | None]) -> bool:
    """Return whether a text names a side of a size in digits, or its shape."""
    if any(str(side) in re.findall(r"\d+", text[:READ]) for side in size):
        return True
    width, height = size
    if width is None or height is None:
        return False
    shape = "square" if width == height else "wide" if width > height else "tall"
    languages = (language_or_fallback(text), BY_CODE[FALLBACK])
    return any(expression(getattr(each.shapes, shape)).search(text[:READ]) for each in languages)


def said_things(things: str, text: str) -> str:
    """Return those of the things to leave out of which a text has a word, in the same script."""
    words = content_words(text)
    return ", ".join(each for thing in things.split(",") if (each := thing.strip()) and content_words(each) & words)


def script(text: str) -> str:
    """Return the kind of script of most letters of a text."""
    letters = [character for character in text if character.isalpha()]
    wide = sum(character >= WIDE for character in letters)
    cyrillic = sum("\u0400" <= character < "\u0530" for character in letters)
    return "wide" if 2 * wide > len(letters) else "cyrillic" if 2 * cyrillic > len(letters) else "latin"


def content_words(text: str) -> set[str]:
    """Return the beginnings of the words with content, so that "cats" equals "cat"; in wide scripts, parts of words.

    A Chinese character has a meaning alone; kana and Hangul have one in pairs.
    """
    spaced = {
        word[: max(3, min(4, len(word) - 1))]
        for word in re.findall(r"[^\W\d_]{3,}", text.lower())
        if word not in patterns.GRAMMAR
    }
    wide = [part for part in re.findall(r"\w+", text) if part[0] >= WIDE]
    pairs = {part[at : at + 2] for part in wide for at in range(len(part) - 1)}
    ideographs = {character for part in wide for character in part if "\u4e00" <= character <= "\u9fff"}
    return {word for word in spaced if word[0] < WIDE} | pairs | (ideographs - patterns.GRAMMAR)
