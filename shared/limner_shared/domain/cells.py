"""How a cell is named in API keys and links, so that a front door without state can route them. No I/O."""

from __future__ import annotations

from typing import Final

KEY_PREFIX: Final = "lmn"
LINK_SEPARATOR: Final = "~"
"""Ends the name of the cell in a link; it is in no token."""


def key_id_prefix(cell: str) -> str:
    """Return how the ids of keys begin that the cell makes: nothing, if the service is not a cell."""
    return f"{cell}-" if cell else ""


def key_prefix(cell: str) -> str:
    """Return how the keys begin that the cell makes."""
    return f"{KEY_PREFIX}_{key_id_prefix(cell)}"


def link_prefix(cell: str) -> str:
    """Return how the tokens of links begin that the cell makes."""
    return f"{cell}{LINK_SEPARATOR}" if cell else ""
