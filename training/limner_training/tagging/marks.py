"""Lines in which braces mark the words that have a role: "make the {old:boat} {quality:blue}"."""

from __future__ import annotations

import re
from typing import Final

_MARKED: Final = re.compile(r"\{(\w+):([^{}]*)\}")
ROLES: Final = {
    "add": "added", "n": "number", "pick": "picked",
    "ask": "asking", "no": "negative", "out": "left out",
}  # fmt: skip
"""The roles of messages, and of descriptions, whose codes are not their names."""


def role_of(code: str) -> str:
    """Return the role that a mark's code stands for."""
    return ROLES.get(code, code)


def pieces(line: str) -> list[tuple[str, str | None]]:
    """Return the words of a marked line in their order, each with its role, which is None where none is marked."""
    found: list[tuple[str, str | None]] = []
    at = 0
    for mark in _MARKED.finditer(line):
        found += [(line[at : mark.start()], None), (mark[2], role_of(mark[1]))]
        at = mark.end()
    return [*found, (line[at:], None)]
