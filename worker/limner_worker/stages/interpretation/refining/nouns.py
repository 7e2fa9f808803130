"""Parts of a message that have no noun of their own, or that name a medium: "a blue one", "a watercolour". No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Final

from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.declension import is_adjective
from limner_worker.stages.interpretation.language.files import NOTHING
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import Pattern
from limner_worker.stages.interpretation.reading.parts import Part, texts_of
from limner_worker.stages.interpretation.reading.things import media_of
from limner_worker.stages.interpretation.refining.attributes import is_quality
from limner_worker.stages.interpretation.refining.changes import changes_for

_GREY: Final = re.compile(
    r"^\s(?:in black and white|in schwarz[- ]?wei(?:ß|ss)|[ae]m? preto e branco|en blanco y negro|en noir et blanc"
    r"|in bianco e nero|in zwart[- ]wit)$",
    re.IGNORECASE,
)
"""What may follow the name of a medium."""
_PAIR: Final = 2
"""The words of a quality and a noun."""


def is_medium(text: str, language: Language) -> bool:
    """Return whether a text names a medium, and nothing that it shows: "a photo in black and white"."""
    medium = _media(language).match(text)
    rest = "" if medium is None else text[medium.end() :]
    of = _shows(language).search(rest)
    return medium is not None and not rest[:1].isalnum() and (of is None or _GREY.search(rest) is not None)


@cache
def _shows(language: Language) -> Pattern:
    """Return a pattern of what leads to what a medium shows: "of", or a genitive ("портрет барсука")."""
    small = language.connectives
    led = rf"(?<!\w)(?:(?:{small.made_of or NOTHING}|{language.scenes.accompaniments or NOTHING})(?!\w)|d['\u2019])"
    if language.cases:
        return expression(rf"{led}|^\s(?!(?:{small.places or NOTHING}|{small.and_ or NOTHING})\s)\w")
    return expression(rf"{led}|^\s(?:{small.indefinite or NOTHING})\s" if language.noun_capitals else led)


def is_bare_quality(text: str, language: Language) -> bool:
    """Return whether a text has no noun: "one of iron", "a blue one", and Russian adjectives."""
    return without_noun(text, language) is not None or (language.cases and is_adjective(text.strip(" )!.")))


def without_noun(text: str, language: Language) -> str | None:
    """Return the quality of something that has no noun of its own ("one of iron", "a blue one"); None if it has one."""
    bare = changes_for(language).indefinite_one.sub("", text)
    made = re.match(rf"(?:{language.connectives.made_of or NOTHING})\s", bare, re.IGNORECASE)
    return bare if bare != text and (made or is_quality(bare, language)) else None


def noun_behind(part: Part, said: str, prompt: str, language: Language) -> str | None:
    """Return the noun of the picture behind a quality that a tagger holds for a thing: "a wooden [school]"."""
    if part.role != "new" or language.unspaced or without_noun(part.text, language) is None:
        return None
    behind = re.search(rf"{re.escape(part.text)}\s(\w{{3,}})", said)
    return behind[1] if behind is not None and re.search(rf"(?<!\w){behind[1]}(?!\w)", prompt, re.IGNORECASE) else None


def own_noun(part: Part, parts: Sequence[Part], prompt: str, language: Language) -> tuple[str, str] | None:
    """Return a quality and the noun behind it, if the prompt has this, or one that ends with it: "a steel boat"."""
    words = changes_for(language).article.sub("", part.text, count=1).split()
    if (
        part.role != "new"
        or texts_of(parts, "old")
        or language.unspaced
        or language.colour_after
        or len(words) != _PAIR
    ):
        return None
    start = "" if language.compounds else r"(?<!\w)"
    there = re.search(rf"{start}{re.escape(words[1])}(?!\w)", prompt, re.IGNORECASE)
    return (words[0], words[1]) if there is not None and is_quality(words[0], language) else None


@cache
def _media(language: Language) -> Pattern:
    """Return a pattern of the name of a medium, with its article."""
    return expression(rf"(?:(?:{language.connectives.indefinite or NOTHING})\s+)?(?:{media_of(language)})")
