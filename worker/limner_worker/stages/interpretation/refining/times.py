"""A time of day, a season or weather that a message gives to a picture: "can we have it at night?". No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from limner_worker.stages.interpretation.language.texts import joined
from limner_worker.stages.interpretation.reading.parsed import ParsedRequest
from limner_worker.stages.interpretation.refining.change import Change
from limner_worker.stages.interpretation.refining.lexemes import LONGEST, lexed
from limner_worker.stages.interpretation.refining.message import Message
from limner_worker.stages.interpretation.refining.plain import note

_PARTICLES: Final = ("으로", "로", "에", "이", "의")
"""Korean particles at the end of a time."""


def timed(change: Change, found: ParsedRequest, styles: Sequence[str]) -> bool:
    """Add the time that a message names, if all of its other words only ask for it; return False if it is no such one.

    A picture that has the time already is as it was.
    """
    text = found.said.strip()
    match = change.patterns.times.search(text) if len(text) <= LONGEST else None
    if match is None or found.negative:
        return False
    rest = _without_particle(text[match.end() :])
    message = Message(
        said := joined(text[: match.start()], rest),
        lexed(said, change.language, change.prompt, styles),
        change,
        tuple(styles),
    )
    if not message.only("contrast", "retried", "added", "place"):
        return False
    note(message, found)
    time, old = match.group().strip(), change.patterns.times.search(change.prompt)
    if old is not None:
        change.prompt = f"{change.prompt[: old.start()]}{time}{change.prompt[old.end() :]}"
    else:
        change.append(time, ", " if change.language.unspaced or change.language.code == "ko" else " ")
    return True


def names_time(change: Change, found: ParsedRequest) -> bool:
    """Return whether a message names a time that the prompt does not have."""
    match = change.patterns.times.search(found.said)
    return match is not None and change.find(match.group().strip()) is None


def _without_particle(rest: str) -> str:
    return next((rest[len(each) :] for each in _PARTICLES if rest.startswith(each)), rest)
