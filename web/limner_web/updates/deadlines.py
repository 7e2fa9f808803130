"""Spreads the ends of waits: waits that began together would end together, and their clients would ask again together.

A wait lasts as long as its client asked, unless too many others end at that time: then it ends earlier.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

INTERVAL_SECONDS: Final = 0.1
MOST_IN_INTERVAL: Final = 15
"""Waits that may end in one interval while an earlier one has room: a process answers more than that without delay."""
SHORTEST: Final = 0.5
"""The least part of its time for which a client waits."""


class Deadlines:
    """How many waits of a process end in each interval of time. Times are of the monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._ends: Counter[int] = Counter()

    def __len__(self) -> int:
        return self._ends.total()

    def take(self, now: float, seconds: float) -> float:
        """The time at which a wait that begins now should end. Call `give_back` with it when the wait is over."""
        last, first = int((now + seconds) / INTERVAL_SECONDS), int((now + seconds * SHORTEST) / INTERVAL_SECONDS) + 1
        if self._ends[last] < MOST_IN_INTERVAL:
            return self._add(now + seconds)
        intervals = range(last, first - 1, -1)
        free = next((interval for interval in intervals if self._ends[interval] < MOST_IN_INTERVAL), None)
        if free is None:
            free = min(intervals, key=self._ends.__getitem__, default=last)
        return self._add(now + seconds if free == last else (free + 0.5) * INTERVAL_SECONDS)

    def give_back(self, end: float) -> None:
        """Forget a wait that `take` gave this time."""
        interval = int(end / INTERVAL_SECONDS)
        self._ends[interval] -= 1
        if not self._ends[interval]:
            del self._ends[interval]

    def _add(self, end: float) -> float:
        self._ends[int(end / INTERVAL_SECONDS)] += 1
        return end
