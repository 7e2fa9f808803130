"""Another subject that a message prefers to that of a picture: "I'd rather have a dog". No I/O."""

from __future__ import annotations

from typing import Final

from limner_worker.stages.interpretation.language.texts import tidy
from limner_worker.stages.interpretation.refining.changes import PLACES, ROW
from limner_worker.stages.interpretation.refining.finding import subject_of
from limner_worker.stages.interpretation.refining.message import SAID, Message
from limner_worker.stages.interpretation.refining.messages import nominative
from limner_worker.stages.interpretation.refining.nouns import is_medium

_LONGEST: Final = 3
"""The most words of a thing in a language without articles."""


def preferred(message: Message) -> bool:
    """Read another subject that someone prefers: "I'd rather have a dog".

    It takes the place of the old one, of which the prompt tells more ("a cat on a sofa"), or else of the whole prompt.
    """
    change, thing = message.change, nominative(_thing(message), message.change.language)
    if not thing or is_medium(thing, change.language):
        return False
    if (head := subject_of(change)) is None:
        change.prompt = thing
    else:
        change.replace(head, thing)
    return True


def _thing(message: Message) -> str:
    """Return the only content of a message, which words of preferring lead to; "" if there is other content."""
    runs = message.runs("colour")
    named = any(message.named(*run) for run in runs) or message.some("away", "added", *PLACES, *ROW)
    counted = any(each.has("number") and not each.has("article") for each in message.words)
    if not runs or named or counted:
        return ""
    start = message.with_article(runs[0][0])
    before = [each for each in message.words if each.end <= start]
    place = message.change.patterns.scenery.search(message.text)
    led = any(each.has("rather") for each in before) and all(each.has(*SAID, "contrast") for each in before)
    if not led or (place is not None and place.start() < start):  # "better on a beach"
        return ""
    bare = start == runs[0][0] and (message.change.articles or len(message.text[start:].split()) > _LONGEST)
    return "" if bare else tidy(message.text[start : runs[-1][1]])
