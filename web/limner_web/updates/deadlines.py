"""Spreads the ends of waits: waits that began together would end together, and their clients would ask again together.

A wait lasts as long as its client asked, unless too many others end at that time: then it ends earlier.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

SLOT_SECONDS: Final = 0.1
MOST_IN_SLOT: Final = 15
"""Waits that may end in one slot while an earlier one has room: a process answers more than that without delay."""
SHORTEST: Final = 0.5
"""The least part of its time for which a client waits."""


class Deadlines:
    """How many waits of a process end in each slot of time. Times are of the monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._ends: Counter[int] = Counter()

    def __len__(self) -> int:
        return self._ends.total()

    def take(self, now: float, seconds: float) -> float:
        """The time at which a wait that begins now should end. Call `give_back` with it when the wait is over."""
        last, first = int((now + seconds) / SLOT_SECONDS), int((now + seconds * SHORTEST) / SLOT_SECONDS) + 1
        if self._ends[last] < MOST_IN_SLOT:
            return self._add(now + seconds)
        slots = range(last, first - 1, -1)
        free = next((slot for slot in slots if self._ends[slot] < MOST_IN_SLOT), None)
        if free is None:
            free = min(slots, key=self._ends.__getitem__, default=last)
        return self._add(now + seconds if free == last else (free + 0.5) * SLOT_SECONDS)

    def give_back(self, end: float) -> None:
        """Forget a wait that `take` gave this time."""
        slot = int(end / SLOT_SECONDS)
        self._ends[slot] -= 1
        if not self._ends[slot]:
            del self._ends[slot]

    def _add(self, end: float) -> float:
        self._ends[int(end / SLOT_SECONDS)] += 1
        return end
