"""How large a batch of a key may be: what fits into memory, and what is still worth its time. Pure policy."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

KEYS: Final = 256
"""Of so many keys at most anything is remembered."""
GROW_AFTER: Final = 64
"""After so many calls that went well at the limit, the next larger size is tried again."""
WORTH: Final = 0.97
"""A size that makes so much of the best size's rows a second is as good, and makes everybody wait less."""
MEASURED: Final = 5
"""A size is judged by the median of so many calls, no sooner and by no older ones."""
SHORTEST: Final = 1e-3
"""Calls of fewer seconds say nothing: there it is the calling that takes the time, and fewer calls are better."""
MEASURED_ANEW: Final = 2000
"""After so many calls of a key what was measured is forgotten, so that a bad moment is not judged by for ever."""


@dataclass(slots=True)
class _Curve:
    """What is known of one key."""

    limit: int | None = None
    """The largest size that fits into memory; None as long as it never ran out."""
    well: int = 0
    """Calls that went well at the limit since it was set."""
    calls: int = 0
    seconds: dict[int, deque[float]] = field(default_factory=dict)

    def fitting(self, buckets: Sequence[int]) -> list[int]:
        """The sizes that fit into memory, as far as is known; at least the smallest."""
        return [size for size in sorted(buckets) if self.limit is None or size <= self.limit] or [min(buckets)]


class Budget:
    """Starts from a card's buckets. Where memory runs out, the size is halved, and grows again later; where larger
    batches bring no more rows a second, as on a device that is busy already, they are not made.
    """

    def __init__(self) -> None:
        self._curves: dict[Hashable, _Curve] = {}

    def allowed(self, key: Hashable, buckets: Sequence[int]) -> list[int]:
        """Those of a card's batch sizes that may be used for this key, ascending; at least the smallest."""
        curve = self._curve(key)
        fitting = curve.fitting(buckets)
        rates = {size: size / median(taken) for size, taken in curve.seconds.items() if len(taken) == MEASURED}
        measured = [size for size in fitting if size in rates]
        if not measured or fitting[-1] not in rates:
            return fitting
        best = max(rates[size] for size in measured)
        enough = next(size for size in measured if rates[size] >= WORTH * best)
        return [size for size in fitting if size <= enough]

    def took(self, key: Hashable, size: int, seconds: float, buckets: Sequence[int]) -> None:
        """A call padded to this size went well."""
        curve = self._curve(key)
        curve.calls += 1
        if curve.calls % MEASURED_ANEW == 0:
            curve.seconds.clear()
        curve.seconds.setdefault(size, deque(maxlen=MEASURED)).append(max(seconds, SHORTEST))
        if curve.limit is not None and size >= curve.fitting(buckets)[-1]:
            curve.well += 1
            if curve.well >= GROW_AFTER:
                curve.limit = next((larger for larger in sorted(buckets) if larger > size), None)
                curve.well = 0

    def ran_out(self, key: Hashable, size: int) -> None:
        """A call padded to this size ran out of memory."""
        curve = self._curve(key)
        curve.limit = max(1, min(size, curve.limit or size) // 2)
        curve.well = 0

    def _curve(self, key: Hashable) -> _Curve:
        known = self._curves.pop(key, None) or _Curve()
        self._curves[key] = known  # the last used stand last
        if len(self._curves) > KEYS:
            del self._curves[next(iter(self._curves))]
        return known
