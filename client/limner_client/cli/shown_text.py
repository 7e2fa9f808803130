"""Texts of users and servers in a terminal: shown as they are, and never obeyed."""

from __future__ import annotations

import re
from typing import Final

from rich.markup import escape

SHORT_CHARS: Final = 40
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]+")
"""Characters that a terminal obeys, such as the beginning of an escape sequence; a new line is harmless."""


def harmless(text: str) -> str:
    """Return a text whose control characters are spaces."""
    return _CONTROL.sub(" ", text)


def shown(text: str) -> str:
    """Return a text for rich: its brackets are no markup, and control characters are spaces."""
    return escape(harmless(text))


def short(text: str) -> str:
    """Return the beginning of a text for rich."""
    return shown(text if len(text) <= SHORT_CHARS else text[: SHORT_CHARS - 1] + "…")
