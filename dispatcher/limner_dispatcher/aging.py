"""Detects starved lanes: a lane is served only while those above it are empty, which may never happen. Pure policy."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Final

from limner_shared.domain.jobs import Lane

CLASSES: Final = (Lane.HIGH, Lane.NORMAL, Lane.LOW)


@dataclass(slots=True)
class _Seen:
    oldest: Hashable
    since: float
    served_at: float = float("-inf")


class Aging:
    """Watches the oldest message of each lane. If it stays for `seconds` while lanes above move, the lane is
    starved.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._seen: dict[Lane, _Seen] = {}

    def starved(self, oldest: Mapping[Lane, Hashable | None], now: float) -> list[Lane]:
        """The lanes whose oldest message should move up a lane now; each at most once in `seconds`."""
        for lane, message in oldest.items():
            seen = self._seen.get(lane)
            if seen is None:
                self._seen[lane] = _Seen(message, now)
            elif seen.oldest != message:
                served = now if seen.oldest is not None else seen.served_at
                self._seen[lane] = _Seen(message, now, served)
        starved = [lane for lane in CLASSES if oldest.get(lane) is not None and self._is_starved(lane, now)]
        for lane in starved:
            self._seen[lane].since = now
        return starved

    def _is_starved(self, lane: Lane, now: float) -> bool:
        recently = now - self._seconds
        above = [seen for other, seen in self._seen.items() if other < lane]
        return self._seen[lane].since <= recently and any(seen.served_at > recently for seen in above)
