"""Messages that follow a picture, for tests."""

from __future__ import annotations

import re

from limner_shared.domain.conditions import Conditions, Turn
from limner_worker.stages.interpretation.reading.parts import Part
from limner_worker.stages.interpretation.rules import interpret

STYLES = ("3d", "noto", "noto-v1", "flat")
SIZES = ((256, 256), (64, 64), (384, 256), (256, 384))
SEED = 7
MARKED = re.compile(r"\{(\w+):([^{}]*)\}")


def changed(before: str, message: str, pictures: int = 1) -> Conditions:
    """What a message makes of a picture of this prompt, or of several."""
    picture = Conditions(prompt=before, n=pictures, seed=SEED)
    return interpret(message, STYLES, (Turn(text=before, conditions=picture),), SIZES)


def wished(before: str, message: str, pictures: int = 1) -> Conditions:
    """What a message, of which the marked words are its parts, makes of a picture: "make the {old:boat} blue"."""
    picture = Conditions(prompt=before, n=pictures, seed=SEED)
    parts = [Part(*each.groups()) for each in MARKED.finditer(message)]
    said = MARKED.sub(r"\2", message)
    return interpret(said, STYLES, (Turn(text=before, conditions=picture),), SIZES, parts=parts)
