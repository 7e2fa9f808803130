"""The parts of a message about a picture that say what it asks for. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """Words of a message and their role, one of `FOLLOW_UP_ROLES` but "said"."""

    role: str
    text: str


def texts_of(parts: Sequence[Part], *roles: str) -> list[str]:
    """Return the words that have one of some roles."""
    return [part.text for part in parts if part.role in roles]
