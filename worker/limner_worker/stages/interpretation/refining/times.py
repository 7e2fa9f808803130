"""A time of day, a season or weather that a message gives to a picture: "can we have it at night?". No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from limner_worker.stages.interpretation.reading.parsed import ParsedRequest
from limner_worker.stages.interpretation.refining.change import Change
from limner_worker.stages.interpretation.refining.lexemes import LONGEST, lexed
from limner_worker.stages.interpretation.refining.message import Message
from limner_worker.stages.interpretation.refining.moments import times_of
from limner_worker.stages.interpretation.refining.plain import note


def timed(change: Change, found: ParsedRequest, styles: Sequence[str]) -> bool:
    """Give the picture the time that a message names, if all of its other words only ask for it; else return False.

    It takes the place of another time.
    """
    text = found.said.strip()
    if len(text) > LONGEST or found.negative:
        return False
    message = Message(text, lexed(text, change.language, change.prompt, styles), change, tuple(styles))
    times = message.some("time")
    if len(times) != 1 or not message.only("time", "contrast", "retried", "added", "place"):
        return False
    note(message, found)
    start = max(0, times[0].start - 1)  # a word begins with a letter, and "'s nachts" does not
    named = times_of(change.language).search(text, start)
    change.give_time(text[start : times[0].end].strip() if named is None else named.group())
    return True
