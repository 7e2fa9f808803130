"""Removes a thing from a prompt, together with what introduces it ("with a hat"). No I/O."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.detection import language_or_fallback
from limner_worker.stages.interpretation.language.files import NOTHING
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import WIDE, squeezed, tidy

STEM: Final = 3
"""The fewest letters that are left of a word whose ending may differ."""


def removed(prompt: str, thing: str) -> str:
    """Return the prompt without a thing that is no longer wanted; the prompt itself if nothing else is in it."""
    name = tidy(thing)
    if not name:
        return prompt
    language = language_or_fallback(prompt)
    before, after = _around(language)
    if language.unspaced:
        return tidy(expression(rf"{before}{re.escape(name)}{after}").sub("", squeezed(prompt))) or prompt
    return tidy(expression(rf"{before}{forms(name, language)}(?!\w)").sub("", squeezed(prompt))) or prompt


def forms(name: str, language: Language) -> str:
    """Return a pattern of a name, with other endings where the language's nouns have cases."""
    if not language.cases or name[0] >= WIDE:
        return re.escape(name)
    return r"\s+".join(rf"{re.escape(word[: max(STEM, len(word) - 2)])}\w{{0,3}}" for word in name.split())


@cache
def _around(language: Language) -> tuple[str, str]:
    small = language.connectives
    if language.unspaced:
        return small.worn_before, rf"(?:{small.worn_after})?" if small.worn_after else ""
    introduced = rf"[\s,]*(?:(?<!\w)(?:{small.accompaniments or NOTHING})\s+)?"
    return rf"{introduced}(?:(?<!\w)(?:{small.articles or NOTHING})\s+)?", ""
