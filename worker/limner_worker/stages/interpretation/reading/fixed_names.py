"""Words of leaving out that are part of a name: of an organisation ("Ärzte ohne Grenzen"), of a book. No I/O."""

from __future__ import annotations

import re
from typing import Final

from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.reading.patterns import RequestPatterns

BESIDE: Final = 80
"""The characters before words of leaving out that are looked at to judge them."""
LONG: Final = 4
"""The fewest letters of a word whose capital tells how a text is written; titles keep short words in lower case."""
_WORD: Final = re.compile(r"[^\W\d_]+")


def is_named(text: str, span: tuple[int, int], thing: str, patterns: RequestPatterns) -> bool:
    """Return whether words of leaving out, which end before or with `thing` at the end of the span, are of a name.

    They are if they follow the word for a title, if they have a capital within a sentence, or if no picture has the
    thing anyway.
    """
    before = text[max(0, span[0] - BESIDE) : span[0]]
    at = max(span[0], text.find(thing, *span))  # within the text, so that a pattern may look at the words before
    if patterns.titled.search(before) or patterns.fixed.match(text, at):
        return True
    first = _WORD.search(text, *span)
    return first is not None and _is_title(text, first.start())


def has_name(text: str, language: Language) -> bool:
    """Return whether a word within a sentence has a capital that it has by no rule: it begins a name or a title."""
    found = (word for word in _WORD.finditer(text) if _is_title(text, word.start()))
    return any(not language.noun_capitals or len(word.group()) < LONG for word in found)


def _is_title(text: str, start: int) -> bool:
    """Return whether a word has a capital within a sentence of words that have none."""
    before = text[:start].rstrip(" ")
    if not text[start].isupper() or not before or not before[-1].isalnum():
        return False
    return any(word.islower() and len(word) >= LONG for word in _WORD.findall(before + text[start:]))
