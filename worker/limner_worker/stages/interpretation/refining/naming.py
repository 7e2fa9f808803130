"""The earlier picture that a message names: by its message, or by its place among those of the last answer. No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Final

from limner_shared.domain.conditions import Conditions
from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.files import NOTHING
from limner_worker.stages.interpretation.language.number_words import number_in
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import Pattern
from limner_worker.stages.interpretation.refining.changes import PLACES, ROW, ChangePatterns
from limner_worker.stages.interpretation.refining.clauses import parts_of as clauses_of

SEEDS: Final = 2**32
_DIGITS: Final = re.compile(r"\d+")
_LETTER: Final = re.compile(r"(?<!\w)[A-D](?!\w)")


def named_picture(text: str, patterns: ChangePatterns, previous: Sequence[Conditions]) -> tuple[Conditions | None, str]:
    """Return the earlier picture that a text names ("the first one"), and the text without its name.

    If the last answer has several pictures, it is one of them, unless the text goes back to an earlier message.
    """
    for name, names in patterns.names.items():
        for pattern in names:
            if match := pattern.search(text):
                rest = patterns.link.sub("", f"{text[: match.start()]} {text[match.end() :]}".strip(), count=1)
                several = (previous[-1].n or 1) > 1 and not patterns.back_to.match(match.group().strip())
                if several and (one := picked(name, previous[-1])) is not None:
                    return one, rest
                place = PLACES.get(name, -1)
                return previous[place if -len(previous) <= place < len(previous) else -1], rest
    return None, text


def picture_named(
    text: str, patterns: ChangePatterns, previous: Sequence[Conditions], language: Language
) -> Conditions | None:
    """Return the earlier picture that a text names with no other words ("the left one", "3"); None if it names none."""
    found, _ = named_picture(text, patterns, previous)
    if found is not None or (previous[-1].n or 1) == 1:
        return found
    ordinals = (name for name in (*PLACES, *ROW) if _ordinal(name, language).search(text))
    name = next(ordinals, None) or _numbered(text, language)
    return None if name is None else picked(name, previous[-1])


def named_first(text: str, before: Conditions, language: Language) -> Conditions | None:
    """Return the picture that a clause of a text begins with ("the second rocks"); None if none names one."""
    the = language.ordinals.the
    led = rf"^(?:{the})\s*" if the else "^"
    for clause in clauses_of(text, language):
        for name in PLACES:
            ordinal = getattr(language.ordinals, name)
            if ordinal and not language.unspaced and expression(rf"{led}(?:{ordinal})(?!\w)").match(clause):
                return picked(name, before)
    return None


def _numbered(text: str, language: Language) -> str | None:
    """Return the place that a number or a letter in a text names: "la 3", "option B"."""
    number = number_in(text, language) or next((int(digits) for digits in _DIGITS.findall(text)), None)
    letter = _LETTER.search(text)
    place = number - 1 if number is not None else None if letter is None else "ABCD".index(letter.group())
    return next((name for name, each in PLACES.items() if each == place), None)


@cache
def _ordinal(name: str, language: Language) -> Pattern:
    return expression(getattr(language.ordinals, name) or NOTHING)


def picked(name: str, before: Conditions) -> Conditions | None:
    """Return the conditions of one of several pictures: picture k of seed s is picture 0 of seed s + k."""
    n = before.n or 1
    row = {"left": 0, "middle": n // 2, "right": n - 1}
    place = row[name] if name in ROW else PLACES[name] % n if PLACES[name] < n else None
    if place is None:
        return None
    seed = None if before.seed is None else (before.seed + place) % SEEDS
    return before.model_copy(update={"n": 1, "seed": seed})
