"""The parts of a message about a picture that say what it asks for. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Part:
    """Words of a message and their role, one of `MESSAGE_ROLES` but "said"."""

    role: str
    text: str


class FollowUp(NamedTuple):
    """A message about a picture, and the prompt of this picture."""

    text: str
    prompt: str


def texts_of(parts: Sequence[Part], *roles: str) -> list[str]:
    """Return the words that have one of some roles."""
    return [part.text for part in parts if part.role in roles]
