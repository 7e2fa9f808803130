"""The conditions that the parts of a message name: style, size, number, and what to leave out. No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from limner_worker.stages.interpretation.language.files import NOTHING
from limner_worker.stages.interpretation.language.number_words import number_in
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import tidy
from limner_worker.stages.interpretation.reading.parsed import MOST, Model, ParsedRequest
from limner_worker.stages.interpretation.reading.parts import Part, texts_of
from limner_worker.stages.interpretation.reading.sizes import shape_among, shaped
from limner_worker.stages.interpretation.reading.taking_apart import taken_apart
from limner_worker.stages.interpretation.refining.agreement import SHOWN
from limner_worker.stages.interpretation.refining.changes import changes_for
from limner_worker.stages.interpretation.refining.messages import bare_style, nominative

_LONGEST_NAME: Final = 20
"""The most characters of a thing that rules leave out and a tagger does not: longer ones are other clauses."""


def conditions_of(text: str, parts: Sequence[Part], language: Language, model: Model) -> ParsedRequest:
    """Return the conditions that a message with some parts names."""
    found = taken_apart(text, language, model, message=True)
    styled = taken_apart(", ".join(texts_of(parts, "style", "look")), language, model, message=True)
    sized = taken_apart(", ".join(texts_of(parts, "size", "look", "style")), language, model, message=True)
    found.style = styled.style or (found.style if texts_of(parts, "style") else None)
    shapes = (shape_among(each, language) for each in texts_of(parts, "size"))
    shape = next(filter(None, shapes), None)
    meant = None if shape is None else shaped(shape, model.sizes)
    found.size = sized.size or found.size or meant
    numbers = (number_in(each, language) for each in texts_of(parts, "number"))
    said = found.n if texts_of(parts, "subject") else None
    found.n, found.seed = next((min(MOST, each) for each in numbers if each), said), None
    told = set(" ".join(part.text for part in parts).lower().split())
    found.negative = [
        each for each in found.negative if len(each) < _LONGEST_NAME and not set(each.lower().split()) & told
    ]
    if texts_of(parts, "again") and not texts_of(parts, "gone"):
        found.negative = []  # a fault of the picture: "it has no ears, try again"
    return found


def denied(parts: Sequence[Part], left_out: Sequence[str], said: str) -> list[Part]:
    """Return the parts, of which those that the rules leave out ("and no people in it") are things that go.

    In a question they are missed ("shouldn't there be people in it?").
    """
    found: list[Part] = []
    for part in parts:
        asked = re.search(rf"{re.escape(part.text)}[^.!。\uff01]{{0,40}}[?\uff1f]", said)
        things = [each for each in left_out if len(each) < _LONGEST_NAME and each.lower() in part.text.lower()]
        apart = part.role in ("look", "place") and bool(texts_of(parts, "gone"))  # "without candles, and darker"
        is_denied = things and part.role in SHOWN and asked is None and not apart
        found.append(Part("gone", things[0]) if is_denied else part)
    return found


def subject_among(parts: Sequence[Part], named: ParsedRequest, model: Model) -> ParsedRequest | None:
    """Return the other subject that a message begins, with the conditions that it names; None if it begins none."""
    subjects = texts_of(parts, "subject")
    if not subjects:
        return None
    small = named.language.connectives
    led = rf"^(?:{small.made_of or NOTHING})\s+(?=(?:{small.indefinite or NOTHING})\s)"
    subject = re.sub(led, "", subjects[0], flags=re.IGNORECASE)  # "I need [of] a truck"
    found = taken_apart(nominative(subject, named.language), named.language, model)
    found.n, found.style, found.size = found.n or named.n, found.style or named.style, found.size or named.size
    return found


def without_names(parts: Sequence[Part], language: Language, model: Model) -> list[Part]:
    """Return the parts, of which those that say how all should look have no names of styles and sizes.

    A style that the model does not have is a look.
    """
    found: list[Part] = []
    for part in parts:
        said = taken_apart(part.text, language, model, message=True) if part.role in ("look", "style") else None
        bare = part.role == "style" and bare_style(part.text, model.styles, changes_for(language)) is not None
        names = said is not None and (bare or said.style is not None or said.size is not None)
        if said is None or (part.role == "style" and names):
            found.append(part)
        else:
            found.append(Part("look", tidy(said.text) if names else part.text))
    return found
