"""Taking together what waits in a stage's queue."""

from __future__ import annotations

from queue import Empty, SimpleQueue
from typing import TypeVar

T = TypeVar("T")


def take_waiting(queue: SimpleQueue[T], most: int | None = None) -> list[T]:
    """Wait for an item; return it and those that wait behind it, at most `most` together."""
    taken = [queue.get()]
    try:
        while most is None or len(taken) < most:
            taken.append(queue.get_nowait())
    except Empty:
        pass
    return taken
