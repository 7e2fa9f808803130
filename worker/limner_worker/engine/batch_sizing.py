"""The batch sizes allowed for each key: those that fit into memory and improve throughput. Pure policy."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from limner_shared.recent_entries import keep_newest

MAX_KEYS: Final = 256
"""Keys whose limits and timings are kept; the least recently used key is discarded first."""
GROW_AFTER: Final = 64
"""Successful calls at the memory limit after which the next larger size is tried again."""
SUFFICIENT_RATE: Final = 0.97
"""A size that reaches this fraction of the best size's rows per second is good enough: every row waits less."""
SAMPLES: Final = 5
"""Latest calls of a size that are kept. A size is judged by their median, and only once there are this many."""
MIN_SECONDS: Final = 1e-3
"""Shorter calls count as this long: call overhead dominates them, so fewer and larger calls are better."""
WORTH_DIVIDING: Final = 0.9
"""Rows are divided into smaller batches that need no padding if these take at most this fraction of the padded one."""
REMEASURE_AFTER: Final = 2000
"""Calls of a key after which its timings are discarded, so that a temporary slowdown does not count permanently."""


@dataclass(slots=True)
class _KeyState:
    """The memory limit and the timings of one key."""

    limit: int | None = None
    """The largest size that fits into memory; None while no call has run out of memory."""
    successes: int = 0
    """Successful calls at the limit since it was set."""
    calls: int = 0
    seconds: dict[int, deque[float]] = field(default_factory=dict[int, deque[float]])
    """Durations of the latest calls by padded size."""

    @property
    def measured(self) -> dict[int, float]:
        """The typical seconds of a call by padded size, where there are enough calls to judge by."""
        return {size: median(taken) for size, taken in self.seconds.items() if len(taken) == SAMPLES}

    def fitting(self, buckets: Sequence[int]) -> list[int]:
        """Return the sizes within the memory limit, ascending; at least the smallest."""
        return [size for size in sorted(buckets) if self.limit is None or size <= self.limit] or [min(buckets)]


def first_batch(rows: int, sizes: Sequence[int], seconds: Mapping[int, float]) -> int:
    """Return how many of `rows` rows, at most the largest size, take the next step.

    All of them, padded to the next size, or as many as fill a smaller one, if that and steps of the others take less
    time than the padded one, by the measured seconds of each size. Sizes without a measurement divide nothing.
    """
    padded = seconds.get(next((size for size in sorted(sizes) if size >= rows), 0))
    smaller = [size for size in sorted(sizes) if size <= rows]
    if padded is None or not smaller or smaller[-1] not in seconds:
        return rows
    spent, left = 0.0, rows
    for size in reversed(smaller):  # the largest first, and the next size for what is left at any point
        if left and size in seconds:
            spent, left = spent + left // size * seconds[size], left % size
            rest = seconds.get(next((other for other in sorted(sizes) if other >= left), 0)) if left else 0.0
            if rest is not None and spent + rest <= WORTH_DIVIDING * padded:
                return smaller[-1]
    return rows


class BatchSizer:
    """Limits a card's buckets by memory and by throughput.

    A size that runs out of memory is halved, and grows again later. Larger sizes that process no more rows per second,
    as on a device that is already saturated, are not used.
    """

    def __init__(self) -> None:
        self._states: dict[Hashable, _KeyState] = {}

    def allowed_sizes(self, key: Hashable, buckets: Sequence[int]) -> list[int]:
        """Return the card's batch sizes that may be used for this key, ascending; at least the smallest."""
        state = self._state(key)
        fitting = state.fitting(buckets)
        rates = {size: size / taken for size, taken in state.measured.items()}
        measured = [size for size in fitting if size in rates]
        if not measured or fitting[-1] not in rates:
            return fitting
        best = max(rates[size] for size in measured)
        sufficient = next(size for size in measured if rates[size] >= SUFFICIENT_RATE * best)
        return [size for size in fitting if size <= sufficient]

    def seconds(self, key: Hashable) -> float | None:
        """Return how long a call for this key takes, at the size that takes longest; None if none was measured."""
        state = self._states.get(key)
        return max((median(taken) for taken in state.seconds.values()), default=None) if state else None

    def first_batch(self, key: Hashable, rows: int, buckets: Sequence[int]) -> int:
        """Return how many of this key's rows take the next step; see the function of this name."""
        return first_batch(rows, self.allowed_sizes(key, buckets), self._state(key).measured)

    def record_success(self, key: Hashable, size: int, seconds: float, buckets: Sequence[int]) -> None:
        """Record a successful call that was padded to this size."""
        state = self._state(key)
        state.calls += 1
        if state.calls % REMEASURE_AFTER == 0:
            state.seconds.clear()
        state.seconds.setdefault(size, deque(maxlen=SAMPLES)).append(max(seconds, MIN_SECONDS))
        if state.limit is not None and size >= state.fitting(buckets)[-1]:
            state.successes += 1
            if state.successes >= GROW_AFTER:
                state.limit = next((larger for larger in sorted(buckets) if larger > size), None)
                state.successes = 0

    def record_out_of_memory(self, key: Hashable, size: int) -> None:
        """Record a call, padded to this size, that ran out of memory."""
        state = self._state(key)
        state.limit = max(1, min(size, state.limit or size) // 2)
        state.successes = 0

    def _state(self, key: Hashable) -> _KeyState:
        state = self._states.get(key) or _KeyState()
        keep_newest(self._states, key, state, MAX_KEYS)  # the order is that of use
        return state
