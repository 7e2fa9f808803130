"""How many workers a pool should have, from the seconds of work that wait. No I/O.

In a cluster, KEDA and Kubernetes's autoscaler compute the same: `deploy/chart/templates/workers.yaml`.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

TOLERANCE: Final = 0.1
"""A difference of at most this part changes nothing."""
LEAST_STEP: Final = 4
"""A pool grows at most to twice its size at a time, or by this number."""


@dataclass(frozen=True, slots=True)
class ScalingRules:
    """The limits of a pool, and how it follows the work that waits."""

    least: int
    most: int
    target_seconds: float = 60.0
    """Workers = seconds of work that wait ÷ this."""
    cooldown_seconds: float = 600.0
    """A pool shrinks to the most that was wanted within this time."""


def seconds_of_work(waiting: int, ended: float, busy_seconds: float, default_seconds: float) -> float:
    """Return the time that one worker needs for the waiting jobs.

    `ended` jobs took all workers together `busy_seconds`; where none ended, a job takes `default_seconds`. Idle time is
    left out, so that a pool with little to do is not taken for a slow one.
    """
    return waiting * (busy_seconds / ended if ended > 0 and busy_seconds > 0 else default_seconds)


class WorkerScaling:
    """Computes repeatedly how many workers a pool should have."""

    def __init__(self, rules: ScalingRules) -> None:
        self._rules = rules
        self._wanted: deque[tuple[float, int]] = deque()

    def workers(self, now: float, current: int, waiting_seconds: float, *, drawing: bool = False) -> int:
        """Return the number of workers from `now` on, in seconds of any clock that never goes back.

        While jobs are drawn (`drawing`), there is at least one.
        """
        rules = self._rules
        needed = max(math.ceil(waiting_seconds / rules.target_seconds), int(drawing))
        wanted = max(rules.least, min(rules.most, needed))
        close = current and abs(waiting_seconds / (rules.target_seconds * current) - 1) <= TOLERANCE
        if close and rules.least <= current <= rules.most:
            wanted = current
        self._wanted.append((now, wanted))
        while self._wanted[0][0] < now - rules.cooldown_seconds:
            self._wanted.popleft()
        if wanted >= current:
            return min(wanted, max(2 * current, current + LEAST_STEP))
        return min(current, max(before for _, before in self._wanted))
