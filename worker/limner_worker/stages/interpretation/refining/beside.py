"""Where a thing that a message adds is, if this is said apart from it: "put one there, next to it". No I/O."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.files import NOTHING
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import Pattern

_VERB: Final = re.compile(
    "^([^，]{0,4}(?:旁边|身[后边]|[后前上]面|[左右]边|背后|头上))(?:再|也|要)?(?:加上?|添上?)(?=.)"
)
"""A Chinese verb between a place and what is added there."""
_MARKS: Final = re.compile(r"[.,;:!?…，。！？；]")


def with_place(thing: str, said: str, language: Language) -> str:
    """Return a thing with the words for its place that stand in its clause of a message, but not beside it."""
    apart = None if language.unspaced else re.fullmatch(rf"(.+?)\s(?:{_preposition(language)})", thing, re.IGNORECASE)
    thing = thing if apart is None else apart[1]
    at = said.find(thing)
    if at < 0 or _has_place(language).search(thing):
        return thing
    before, rest = _around(said[:at], said[at + len(thing) :], language)
    if language.unspaced:
        thing = _VERB.sub(r"\1", thing)
        place = _before(language).search(before)
        return thing if place is None else f"{place[1]}{place.groupdict().get('there') or ''}{_space(language)}{thing}"
    if place := _parted(thing, before, rest, language):
        return f"{thing} {place}"
    if (place := _last(before, language)) is not None:
        return f"{place} {thing}" if before.rstrip().endswith(place) else f"{thing} {place}"
    place = _alone(language).search(rest)
    return thing if place is None else f"{thing} {place.group()}"


def has_place(thing: str, language: Language) -> bool:
    """Return whether a thing has words for where it is beside others: "a nut next to it"."""
    return re.search(rf"(?<!\w)(?:{language.connectives.aside or NOTHING})(?!\w)", thing, re.IGNORECASE) is not None


def ends_with_place(thing: str, language: Language) -> bool:
    """Return whether a thing ends with words for where it is beside others."""
    return re.search(rf"(?<!\w)(?:{language.connectives.aside or NOTHING})$", thing, re.IGNORECASE) is not None


def _around(before: str, after: str, language: Language) -> tuple[str, str]:
    """Return what stands before and after a thing in its clause."""
    joints = expression(rf"{_MARKS.pattern}|(?<!\w)(?:{language.connectives.and_ or NOTHING})(?!\w)")
    ends = _MARKS if language.unspaced else joints
    return ends.split(before)[-1], ends.split(after, maxsplit=1)[0]


def _space(language: Language) -> str:
    return " " if language.code == "ko" else ""


def _last(before: str, language: Language) -> str | None:
    """Return the last words for a place in what stands before a thing in its clause."""
    found = [match.group() for match in _alone(language).finditer(f"{before}\n")]
    return found[-1] if found else None


def _parted(thing: str, before: str, rest: str, language: Language) -> str | None:
    """Return the adverb of which a message has one half before a thing and one behind it: "er … naast"."""
    second = _halves(language).match(rest)
    first = re.search(rf"(?<!\w)({language.connectives.aside_half or NOTHING})\s(?:\w+\s){{0,3}}$", before)
    return None if first is None or second is None else f"{first[1]}{second[1]}"


@cache
def _has_place(language: Language) -> Pattern:
    small = language.connectives
    words = "|".join(filter(None, (small.aside, small.beside, small.places)))
    return expression(NOTHING if language.unspaced else rf"(?<!\w)(?:{words})(?!\w)")


def _preposition(language: Language) -> str:
    return (language.connectives.beside or NOTHING) if language.connectives.aside_half else NOTHING


@cache
def _alone(language: Language) -> Pattern:
    """Return a pattern of words for a place that have no thing behind them of which they tell: "à côté du lit"."""
    small = language.connectives
    things = "|".join(filter(None, (small.determiners, small.places, small.aside_with)))
    return expression(rf"(?<!\w)(?:{small.aside or NOTHING})(?!\w)(?!\s+(?:{things or NOTHING})(?!\w))")


@cache
def _halves(language: Language) -> Pattern:
    """Return a pattern of the second half of an adverb at the end of a clause or before another one."""
    small = language.connectives
    return expression(rf"\s+({small.beside or NOTHING})(?=\s*$)")


@cache
def _before(language: Language) -> Pattern:
    return expression(language.connectives.aside_before or NOTHING)
