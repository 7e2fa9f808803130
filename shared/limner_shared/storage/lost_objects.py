"""Objects that a row names and the picture store does not have, has with other bytes, or does not return."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from limner_shared import metrics
from limner_shared.errors import ObjectLost


class ObjectKind(StrEnum):
    """What an object is."""

    PICTURE = "picture"
    INPUT = "input"
    FILE = "file"


class Loss(StrEnum):
    """What is wrong with a lost object."""

    MISSING = "missing"
    DAMAGED = "damaged"


WORDS: Final = {Loss.MISSING: "no longer stored", Loss.DAMAGED: "damaged"}
FILE_LOST: Final = "The file's bytes are {}."


def lost_object(kind: ObjectKind, key: str, loss: Loss, message: str) -> ObjectLost:
    """The error for a lost object, which is counted. `{}` in the message becomes what is wrong with it."""
    metrics.LOST_OBJECTS.inc(kind=kind.value, problem=loss.value)
    return ObjectLost(message.format(WORDS[loss]), object=key, problem=loss.value)


def damaged_file(key: str) -> ObjectLost:
    """The error for a file whose parts are not what was uploaded, found at the part with this key."""
    return lost_object(ObjectKind.FILE, key, Loss.DAMAGED, FILE_LOST)
