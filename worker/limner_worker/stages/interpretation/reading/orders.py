"""Conditions as orders name them ("qty=3", "exclude: shadows"), and how letters and telegrams end. No I/O."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.files import BY_CODE, FALLBACK, words
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import Pattern
from limner_worker.stages.interpretation.reading.things import END, any_

_MOST_SIGNING: Final = 5
"""The most words of who signs a letter."""
_STOPS: Final = re.compile(r"\s(?:STOPP?|ТЧК|PT|PUNTO|PUNT)(?=\s|$)")
"""Words that a telegram has for full stops."""
_BEGINS: Final = r"(?:(?<=^)|[\s,;:(，、；（。])\s*"


def ordered_numbers(language: Language) -> tuple[str, ...]:
    """Return the patterns of a number of pictures after its key, or beside a sign of multiplication."""
    keys = words("pictures.counted_as", language, BY_CODE[FALLBACK])
    return (
        rf"{_BEGINS}(?:{keys})\s*[.:=×：]\s*(?P<n>\d{{1,4}})(?!\w|[.,]\d)",
        rf"(?:(?<=^)|[,;:(，、])\s*(?P<n>\d{{1,4}})\s?[x×]\)?(?:{END}|\s+(?=[^\W\d]))",
        rf"{_BEGINS}[x×]\s?(?P<n>\d{{1,4}})\)?(?:{END}|\s+(?=[^\W\d]))",
    )


def excluded(language: Language) -> str:
    """Return a pattern of what to leave out after its key."""
    keys = words("requests.excluded", language, BY_CODE[FALLBACK])
    return rf"{_BEGINS}(?:{keys})\s*[:=：]\s*(?P<what>{{things}})"


def body(text: str, language: Language) -> str:
    """Return a letter without what it ends with, a telegram with marks, and other texts as they are."""
    if text.isupper() and len(_STOPS.findall(text)) > 1:
        text = _STOPS.sub(".", text)
    match = _signature(language).search(text)
    return text if match is None or not text[: match.start()].strip() else text[: match.start() + 1].rstrip()


@cache
def _signature(language: Language) -> Pattern:
    word = r"[\s,.!–—-]+[^\W\d][^\s,;:!?]{0,30}"
    return expression(
        rf"[.!?。！？…,，\n]\s*(?:{any_(language.requests.closings)})(?!\w)(?:{word}){{0,{_MOST_SIGNING}}}+[\s.,!。]*$"
    )
