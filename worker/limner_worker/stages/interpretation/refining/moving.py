"""Another place, time, season or weather that a message gives to a picture, instead of an old one. No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Final

from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.at_rest import at_rest
from limner_worker.stages.interpretation.language.files import NOTHING
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import Pattern
from limner_worker.stages.interpretation.reading.parts import Part
from limner_worker.stages.interpretation.refining.change import Change
from limner_worker.stages.interpretation.refining.finding import content
from limner_worker.stages.interpretation.refining.moments import parted
from limner_worker.stages.interpretation.refining.remarks import contrasts, moves, prefers

_LONG: Final = 4
"""The fewest letters of a word by which an old place is known in a message."""
_ENDS: Final = re.compile(r"\s*,")


def moved(change: Change, place: str, parts: Sequence[Part], said: str) -> None:
    """Put the picture elsewhere, or give it another time, season or weather, instead of another one.

    An old place goes that the message names ("the garden? rather the beach"), and so does the last place if the
    message prefers another one.
    """
    place = at_rest(place, change.language)
    for part in parts:
        said = said.replace(part.text, " ")
    place, moment = parted(place, change.language)
    if place:
        _moved(change, place, said)
    if moment:
        change.give_time(moment)


def _moved(change: Change, place: str, said: str) -> None:
    if change.language.unspaced:
        change.append(place)
    elif (old := _old_place(change, place, said)) is not None:
        change.prompt = f"{change.prompt[: old.start()]} {place}{change.prompt[old.end() :]}"
    else:
        change.place(place)


def _old_place(change: Change, place: str, said: str) -> re.Match[str] | None:
    """Return the place of a prompt that another one replaces; None if the message says nothing of it.

    What is preferred to a place that is not named begins as this does: "rather in the grass" than in a cage.
    """
    places = list(_places(change.language).finditer(change.prompt))
    told = {word.lower() for word in content(said, change) if len(word) >= _LONG}
    named = (each for each in places if _is_named(each.group(), told, change))
    if (first := next(named, None)) is not None:
        return first
    last = places[-1] if places and places[-1].end() == len(change.prompt) else None
    if moves(said, change):
        return last
    same = last is not None and last.group().split()[:1] == place.split()[:1]
    return last if same and (prefers(said, change) or contrasts(said, change)) else None


def _is_named(place: str, told: set[str], change: Change) -> bool:
    """Return whether a message says a word of a place, perhaps in another form of it."""
    stems = {word.lower()[:-1] if change.language.cases else word.lower() for word in content(place, change)}
    return any(word.startswith(stem) for word in told for stem in stems if len(stem) >= _LONG - 1)


@cache
def _places(language: Language) -> Pattern:
    """Return a pattern of where a picture is, up to another place, thing or mark."""
    small = language.connectives
    begins = "|".join(filter(None, (small.places, small.beside, small.scenery_before)))
    ends = "|".join(filter(None, (begins, small.accompaniments, small.and_, language.scenes.accompaniments)))
    elided = r"(?:\s|(?<=['\u2019]))"
    return expression(rf"\s(?:{begins or NOTHING}){elided}(?:(?!\s(?:{ends or NOTHING}){elided})[^,])++")
