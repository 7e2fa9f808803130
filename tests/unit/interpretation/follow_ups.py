"""Messages that follow a picture, for tests."""

from __future__ import annotations

from limner_shared.domain.conditions import Conditions, Turn
from limner_worker.stages.interpretation.rules import interpret

STYLES = ("3d", "noto", "noto-v1", "flat")
SIZES = ((256, 256), (64, 64), (384, 256), (256, 384))
SEED = 7


def changed(before: str, message: str, pictures: int = 1) -> Conditions:
    """What a message makes of a picture of this prompt, or of several."""
    picture = Conditions(prompt=before, n=pictures, seed=SEED)
    return interpret(message, STYLES, (Turn(text=before, conditions=picture),), SIZES)
