"""The patterns by which `refine` reads what should change about a picture, composed of the words in a language file.

See `patterns` for those of requests.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final

from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.files import NOTHING
from limner_worker.stages.interpretation.language.number_words import number_pattern
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import Pattern, compiled

PLACES: Final = {"first": 0, "second": 1, "third": 2, "fourth": 3, "last": -1}
"""The index of a picture by its name in `Ordinals`."""
ROW: Final = ("left", "middle", "right")
"""The names of pictures by their place in a row."""


@dataclass(frozen=True)
class ChangePatterns:
    """The compiled patterns of one language."""

    chatter: Pattern
    """Messages that ask for no change."""
    undo: Pattern
    also: Pattern
    more: Pattern
    polite: tuple[Pattern, ...]
    same: tuple[Pattern, ...]
    remove: tuple[Pattern, ...]
    less: tuple[Pattern, ...]
    replace: tuple[Pattern, ...]
    instead: tuple[Pattern, ...]
    change_to: tuple[Pattern, ...]
    part: tuple[Pattern, ...]
    change: tuple[Pattern, ...]
    change_after: tuple[Pattern, ...]
    comparatives: tuple[Pattern, ...]
    placed: tuple[Pattern, ...]
    again: tuple[Pattern, ...]
    another: tuple[Pattern, ...]
    count_alone: tuple[Pattern, ...]
    fillers: tuple[Pattern, ...]
    worn: tuple[tuple[str, Pattern], ...]
    """How a prompt says that its subject has a thing, and a message that gives it this."""
    before_place: Pattern
    """A word before a place, at which a prompt goes on after its subject."""
    scenery: Pattern
    dropped: Pattern
    """Words that drop the picture before."""
    other: Pattern
    """Words that tell of another picture."""
    otherwise: Pattern
    """What stands before a request for another picture."""
    """A place where all that a picture shows is ("in a park"), at the end of a text."""
    adding: Pattern
    indefinite: Pattern
    indefinite_one: Pattern
    """What stands for another thing of the same kind: "a … one"."""
    article_last: Pattern
    """An indefinite article at the end of a text."""
    article: Pattern
    link: Pattern
    determiner: Pattern
    back_to: Pattern
    names: dict[str, tuple[Pattern, ...]]


@cache
def changes_for(language: Language) -> ChangePatterns:
    """Return the patterns of a language, which are compiled once."""
    said, small = language.changes, language.connectives
    return ChangePatterns(
        chatter=_one(_chatter(language)),
        undo=_one(rf"(?:{_any(said.undo)})[\s.!]*"),
        also=_one(rf"^(?:{_any(said.also)})(?P<what>.+)$"),
        more=_one(_any(said.more)),
        polite=compiled(said.polite),
        same=compiled(said.same),
        remove=compiled(said.remove),
        less=compiled(said.less),
        replace=compiled(said.replace),
        instead=compiled(said.instead),
        change_to=compiled(said.change_to),
        part=compiled(said.part),
        change=compiled(said.change),
        change_after=compiled(said.change_after),
        comparatives=compiled(said.comparatives),
        placed=compiled(said.placed),
        again=compiled(said.again),
        another=compiled(said.another),
        count_alone=compiled(_numbered(said.count_alone, language)),
        fillers=compiled((*said.fillers, r"[，,。.!！?？、;；:\s]+")),
        worn=tuple((form, pattern) for form, sources in said.worn.items() for pattern in compiled(sources)),
        before_place=_one(rf"\s(?:{_any(small.places)})\s"),
        scenery=_one(_scenery(language)),
        dropped=_one(_whole(said.dropped, language)),
        other=_one(_whole(said.otherwise, language)),
        otherwise=_one(_otherwise(said.otherwise)),
        adding=_one(rf"(?<!\w)({_any(_additions(language))})(?!\w)"),
        indefinite=_one(rf"(?:{_any(small.indefinite)}) \w"),
        indefinite_one=_one(rf"^(?:{_any(small.indefinite)})\s+|\s+ones?$"),
        article_last=_one(rf"(?<!\w)(?:{_any(small.indefinite)})\s*$"),
        article=_one(rf"(?<!\w)(?:{_any(small.articles)}|{_any(small.indefinite)})(?!\w)\s*"),
        link=_one(rf"^[\s,、，]*(?:{_any(small.links)})?(?!\w)[\s,、，]*"),
        determiner=_one(rf"^(?:{_any(small.determiners)})(?:(?<=['’])|(?!\w))\s*"),
        back_to=_one(rf"^(?:{_any(language.ordinals.back_to)})(?!\w)"),
        names={name: compiled(_names(name, language)) for name in (*PLACES, *ROW)},
    )


def _chatter(language: Language) -> str:
    said = language.changes
    chat = rf"(?:{_any(said.chat)})(?: (?:{_any(said.chat_degrees)}))?"
    return rf"{chat}(?:[\s,，!！.。~]+{chat})*+[\s!！.。~]*"


def _additions(language: Language) -> str:
    return "|".join(map(re.escape, sorted(language.additions, key=len, reverse=True)))


def _scenery(language: Language) -> str:
    small = language.connectives
    if language.unspaced:
        return rf"(?:{_any(small.scenery_before)})(?:{_any(small.scenery)})$"
    described = rf"(?:(?:{_any(small.qualities)})\s+){{0,2}}(?:[^\W\d_]+\s+)?"
    return rf"(?<!\w)(?:{_any(small.scenery_before)}){described}(?:{_any(small.scenery)})$"


def _whole(words: str, language: Language) -> str:
    return _any(words) if language.unspaced else rf"(?<!\w)(?:{_any(words)})(?!\w)"


def _otherwise(words: str) -> str:
    """Return a pattern of what begins a request for another picture, after praise or thanks, up to a mark."""
    return rf"^(?:[^:;]{{0,60}}[\s.!?,，。！？～]+|)(?:{_any(words)})\s*[:,.!，。：、！–-]+\s*(?=\S)"


def _any(alternation: str) -> str:
    return alternation or NOTHING


def _one(source: str) -> Pattern:
    return expression(source)


def _numbered(patterns: Iterable[str], language: Language) -> Iterable[str]:
    return (source.replace("{number}", number_pattern(language)) for source in patterns)


def _names(name: str, language: Language) -> tuple[str, ...]:
    """Return the patterns that name an earlier picture: with a noun, before a change, and alone."""
    ordinals, small = language.ordinals, language.connectives
    ordinal = getattr(ordinals, name)
    if not ordinal:
        return ()
    sign = rf"^#\s?{PLACES[name] + 1}(?!\d)" if PLACES.get(name, -1) >= 0 else NOTHING
    if ordinals.frame:
        return (ordinals.frame.replace("{ordinal}", ordinal), sign)
    back = rf"(?<!\w)(?:(?:{_any(ordinals.back_to)})\s+)?"
    the = rf"(?:(?:{_any(ordinals.the)})\s*)"
    pictures = rf"(?:{_any(ordinals.pictures)})(?!\w)"
    liked = rf"(?:\s+(?:{_any(ordinals.liked)})(?!\w))?"
    after = rf"{liked}(?=\s+(?:{_any(small.links)}|{_any(small.dangling)})(?!\w)|\s*[,.!]|\s*$)"
    return (
        rf"{back}{the}?(?:{ordinal})\s+{pictures}{liked}",
        rf"{back}{the}?{pictures}\s+(?:{ordinal})(?!\w)",
        rf"{back}{the}(?:{ordinal}){after}",
        rf"^{the}?(?:{ordinal})$",
        sign,
    )
