"""Dictionaries that keep their newest entries only."""

from __future__ import annotations

from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


def keep_newest(kept: dict[Key, Value], key: Key, value: Value, most: int) -> None:
    """Store a value as the newest entry, and drop the oldest ones beyond `most`."""
    kept.pop(key, None)
    kept[key] = value
    while len(kept) > most:
        del kept[next(iter(kept))]
