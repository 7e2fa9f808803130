"""The earlier picture that a message names: by its message, or by its place among those of the last answer. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from limner_shared.domain.conditions import Conditions
from limner_worker.stages.interpretation.language.number_words import number_in
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.refining.changes import PLACES, ROW, ChangePatterns

SEEDS: Final = 2**32


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
    number = None if found is not None else number_in(text, language)
    name = next((name for name, place in PLACES.items() if number is not None and place == number - 1), None)
    return found if name is None else picked(name, previous[-1])


def picked(name: str, before: Conditions) -> Conditions | None:
    """Return the conditions of one of several pictures: picture k of seed s is picture 0 of seed s + k."""
    n = before.n or 1
    row = {"left": 0, "middle": n // 2, "right": n - 1}
    place = row[name] if name in ROW else PLACES[name] % n if PLACES[name] < n else None
    if place is None:
        return None
    seed = None if before.seed is None else (before.seed + place) % SEEDS
    return before.model_copy(update={"n": 1, "seed": seed})
