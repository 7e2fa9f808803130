"""When a picture is: a time of day, a season or weather, of which another one of its kind takes the place. No I/O."""

from __future__ import annotations

from functools import cache
from typing import Final

from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.files import NOTHING
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import Pattern

_KINDS: Final = ("hours", "seasons", "weathers")
_ADJECTIVE: Final = r"\w+(?:[ыио]й|[ую]ю|[ое]е|[ая]я|[ыи]е)"
"""A Russian adjective in the nominative or the accusative."""


def is_moment(text: str, language: Language) -> bool:
    """Return whether a text says when, and nothing else: "on a rainy evening"."""
    if language.unspaced:
        return times_of(language).search(text) is not None
    known = times_of(language).fullmatch(text) is not None
    return known or (bool(kinds_in(text, language)) and _phrase(language).fullmatch(f" {text}") is not None)


def parted(text: str, language: Language) -> tuple[str, str]:
    """Return a place, and when: "in the garden" and "at night"; each may be empty."""
    if is_moment(text, language):
        return "", text
    start = len(text)
    spans = [] if language.unspaced else _spans(f" {text}", language)
    for first, end, _ in sorted(spans, key=lambda span: -span[1]):
        start = min(start, first - 1) if not text[end - 1 : start].strip(" ,") else start
    return text[:start].rstrip(" ,"), text[start:]


def kinds_in(text: str, language: Language) -> frozenset[str]:
    """Return the kinds of when that a text names."""
    return frozenset(kind for kind, words in _words(language).items() if words.search(text))


def same_moments(prompt: str, moment: str, language: Language) -> list[tuple[int, int]]:
    """Return where a prompt says when, by words of a kind that another moment has too."""
    kinds = kinds_in(moment, language)
    found: list[tuple[int, int]] = []
    for start, end, own in sorted(_spans(prompt, language), key=lambda span: (span[0], -span[1])):
        if kinds & own and (not found or found[-1][1] <= start):
            found.append((start, end))
    return found


def _spans(text: str, language: Language) -> list[tuple[int, int, frozenset[str]]]:
    """Return where a text says when, and by words of which kinds; of several words, some twice."""
    patterns = (times_of(language),) if language.unspaced else (times_of(language), _phrase(language))
    matches = (match for pattern in patterns for match in pattern.finditer(text))
    spans = ((match.end() - len(match.group().lstrip()), match.end()) for match in matches)
    return [(start, end, kinds) for start, end in spans if (kinds := kinds_in(text[start:end], language))]


@cache
def times_of(language: Language) -> Pattern:
    """Return a pattern of the known phrases for when: "at night", "im Winter"."""
    words = language.moments.phrases
    return expression(words if language.unspaced else rf"(?<!\w)(?:{words})(?!\w)")


@cache
def _words(language: Language) -> dict[str, Pattern]:
    """Return the pattern of the words of each kind."""
    some = language.moments
    sources = {kind: getattr(some, kind) for kind in _KINDS}
    sources["weathers"] += f"|{some.weathered}" if some.weathered else ""
    if language.unspaced:
        return {kind: expression(words) for kind, words in sources.items()}
    return {kind: expression(rf"(?<!\w)(?:{words})(?!\w)") for kind, words in sources.items()}


@cache
def _phrase(language: Language) -> Pattern:
    """Return a pattern of words for when, with a preposition; where nouns have cases, also without one."""
    some, small = language.moments, language.connectives
    begins = "|".join(filter(None, (small.places, small.beside, small.scenery_before)))
    articles = "|".join(filter(None, (small.indefinite, small.articles)))
    apart = r"(?:\s+|(?<=['\u2019]))"
    heads = f"{some.hours}|{some.seasons}|{some.weathers}|{some.skies}"
    described = f"{some.weathered}|{some.seasons}"
    of = rf"(?:\s+(?:{described}|(?:{small.made_of or NOTHING}){apart}(?:{heads})))?" if language.colour_after else ""
    first = "" if language.colour_after or language.cases else rf"(?:(?:{some.seasons})\s+)?"
    goes_on = "|".join(filter(None, (begins, small.accompaniments, small.and_, small.thing_ends, small.holding)))
    end = "" if language.colour_after or language.cases else rf"(?=\s*(?:$|[^\w\s])|\s(?:{goes_on})(?!\w))"
    last = rf"{first}(?:{heads})(?!\w){of}(?!\w){end}"
    adjective = _ADJECTIVE if language.cases else r"[^\W\d_]+"
    words = rf"(?:(?!(?:{begins}){apart}){adjective}\s+){{0,2}}?"
    led = rf"\s(?:{begins or NOTHING}){apart}(?:(?:{articles or NOTHING}){apart})?{words}{last}"
    bare = rf"|\s(?:(?:{described})\s+)?{last}" if language.cases else ""
    return expression(f"{led}{bare}")
