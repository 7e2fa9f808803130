"""Removes a thing from a prompt, together with what introduces it ("with a hat"). No I/O."""

from __future__ import annotations

import re
from functools import cache, partial
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
        joined = _joined(name, squeezed(prompt), language)
        if joined is not None:
            return tidy(joined) or prompt
        return tidy(expression(rf"{before}{re.escape(name)}{after}").sub("", squeezed(prompt))) or prompt
    kept = partial(_kept, language)
    left = expression(rf"{before}{forms(name, language)}(?!\w){_more(language)}").sub(kept, squeezed(prompt))
    return tidy(left) or prompt


def _joined(name: str, prompt: str, language: Language) -> str | None:
    """Return a prompt in a script without spaces without one of two things that a particle joins; None if none does."""
    joins = language.connectives.and_ or NOTHING
    first = expression(rf"{re.escape(name)}(?:{joins})\s?(?=\w)")
    last = expression(rf"(?<=\w)(?:{joins})\s?{re.escape(name)}(?!\w*(?:{joins}))")
    for pattern in (first, last):
        if pattern.search(prompt):
            return pattern.sub("", prompt, count=1)
    return None


def forms(name: str, language: Language) -> str:
    """Return a pattern of a name, with other endings where the language's nouns have cases."""
    if not language.cases or name[0] >= WIDE:
        return re.escape(name)
    return r"\s+".join(rf"{re.escape(word[: max(STEM, len(word) - 2)])}\w{{0,3}}" for word in name.split())


def _kept(language: Language, match: re.Match[str]) -> str:
    """Return what introduced the first of several things, of which the others stay: "with a hat and a scarf"."""
    introduced, more = match["introduced"], match["more"]
    joins = language.connectives.and_ or NOTHING
    if not more or not introduced or re.fullmatch(joins, introduced, re.IGNORECASE):
        return more or ""
    said = f"{introduced} {match.string[match.end() :]}"
    for wrong, right in language.connectives.before_sounds.items():
        if expression(wrong).match(said):
            return f" {right} "
    return f" {introduced} "


@cache
def _more(language: Language) -> str:
    """Return a pattern of what joins a further thing of a list, and none that has another case, or things of its own.

    It has an article where the language has them, or is a word alone: "with a hat and sunglasses".
    """
    small = language.connectives
    joins, withs = small.and_ or NOTHING, language.scenes.accompaniments or NOTHING
    cases = "|".join(dict.fromkeys(language.dative.values()))
    articles = cases or f"{small.indefinite or NOTHING}|{small.articles or NOTHING}"
    alone = r"\w+(?=\s*(?:[,.;!?]|$))"
    thing = rf"(?:(?:{articles})(?!\w)|{alone})" if small.indefinite else r"\w"
    whole = rf"(?={thing})(?![^,.;]{{1,60}}\s(?:{withs})\s)"
    listed = rf",\s+(?=(?:{articles})\s[^,.;]{{1,40}},?\s(?:{joins})\s)"
    return rf"(?P<more>\s+(?:{joins})\s+{whole}|{listed})?"


@cache
def _around(language: Language) -> tuple[str, str]:
    small = language.connectives
    if language.unspaced:
        return small.worn_before, rf"(?:{small.worn_after})?" if small.worn_after else ""
    introduced = rf"[\s,]*(?:(?<!\w)(?P<introduced>{small.accompaniments or NOTHING})\s+)?"
    return rf"{introduced}(?:(?<!\w)(?:{small.articles or NOTHING})\s+)?", ""
