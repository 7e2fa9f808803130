"""A thing that a message adds to a picture, in any words: "there should be a tree too". No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from limner_worker.stages.interpretation.language.texts import shortened, tidy
from limner_worker.stages.interpretation.reading.parsed import ParsedRequest
from limner_worker.stages.interpretation.reading.patterns import patterns_for
from limner_worker.stages.interpretation.refining.change import Change
from limner_worker.stages.interpretation.refining.lexemes import LONGEST, MARK, NEW, Lexeme, lexed
from limner_worker.stages.interpretation.refining.messages import first_match, nominative, without_politeness

_COUNTER: Final = re.compile("^[个只位条张辆](?=[\u4e00-\u9fff]{2})")
"""A Chinese measure word without a number."""
_SAID: Final = ("frame", "opinions", "meant", "rather", "added", "within", MARK)


def added(change: Change, found: ParsedRequest, styles: Sequence[str]) -> bool:
    """Add the thing of a message that misses one or asks for one too; return False if it does not.

    A thing that the subject is given, or that has a definite article, is read elsewhere.
    """
    text = shortened(found.said.strip(" .!?。！？"), patterns_for(change.language).polite_tails)
    if len(text) > LONGEST or found.negative or found.style is not None or _is_given(text, change):
        return False
    words = lexed(text, change.language, change.prompt, styles)
    some = [each for each in words if each.has("added")]
    place = change.patterns.scenery.search(text)
    if place is not None and not any(NEW in each.kinds for each in words if each.end <= place.start()):
        return False  # "put it on a beach"
    last = max((at for at, each in enumerate(words) if NEW in each.kinds), default=-1)
    if (
        not (some or change.patterns.also.match(text))
        or last < 0
        or any(each.has("away", "contrast") and not each.has(*_SAID) for each in words)
    ):
        return False
    first = _beginning(words, change)
    if first is None:
        return False
    thing = _between(text, words, first, last, change)
    if not thing or change.find(thing) is not None:
        return False
    change.append(nominative(_COUNTER.sub("", thing), change.language, text))
    return True


def _is_given(text: str, change: Change) -> bool:
    patterns = change.patterns
    return first_match([pattern for _, pattern in patterns.worn], without_politeness(text, patterns)) is not None


def _beginning(words: Sequence[Lexeme], change: Change) -> int | None:
    """Return the index of the first word of what is added: its article or number, else its first word.

    Before it are only words that say nothing of their own, and none that begins a place.
    """
    kinds = {NEW, "colour"} if change.language.unspaced else {NEW, "colour", "article", "number"}
    first = next((at for at, each in enumerate(words) if not each.kinds.isdisjoint(kinds)), None)
    if first is None or not all(each.has(*_SAID) for each in words[:first]):
        return None
    if first and words[first - 1].has("place", "definite") and not words[first - 1].has("added", "within"):
        return None
    bare = not words[first].has("article", "number")
    adding = bool(first) and words[first - 1].has("added") and not words[first - 1].has("place")  # "bij nacht"
    return None if bare and change.articles and not adding else first


def _between(text: str, words: Sequence[Lexeme], first: int, last: int, change: Change) -> str:
    """Return what is added, without words of asking and adding around it."""
    if change.language.unspaced:
        while first and words[first - 1].has("within") and words[first - 1].end == words[first].start:
            first -= 1
        some = words[first : last + 1]
        ends = [*(each.start for each in some[1:]), some[-1].end]
        parts = (text[each.start : end] for each, end in zip(some, ends, strict=True) if not each.has("added"))
        return tidy("".join(parts))
    end = len(words)
    while end - 1 > last and words[end - 1].has("added", "asking", MARK):
        end -= 1
    return tidy(text[words[first].start : words[end - 1].end])
