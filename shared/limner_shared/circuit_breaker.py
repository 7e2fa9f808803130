"""A circuit breaker: a dependency that keeps failing is not called for a while, then tried once. Pure policy,
thread-safe.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import Enum

# Michael T. Nygard: Release It!, 2007, "Circuit Breaker".


class BreakerState(Enum):
    """Whether new work may begin."""

    CLOSED = "closed"
    OPEN = "open"
    TRIAL = "trial"
    """One unit of work may begin; its result closes or reopens the breaker."""


class Breaker:
    """Opens after `threshold` consecutive failures, for `pause_seconds`; each failed trial doubles the pause."""

    def __init__(
        self,
        threshold: int,
        pause_seconds: float,
        longest_pause_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._threshold = threshold
        self._shortest = pause_seconds
        self._longest = longest_pause_seconds
        self._clock = clock
        self._failures = 0
        self._pause = pause_seconds
        self._failing_since: float | None = None
        self._open_until: float | None = None
        self.reason = ""
        """Why the last call failed, as its caller says; empty after a success."""
        self._lock = threading.RLock()

    @property
    def state(self) -> BreakerState:
        """The current state."""
        until = self._open_until
        if until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if self._clock() < until else BreakerState.TRIAL

    @property
    def open_seconds(self) -> float:
        """Seconds until something may be tried; 0 unless it is open."""
        until = self._open_until
        return 0.0 if until is None else max(0.0, until - self._clock())

    @property
    def failing_seconds(self) -> float:
        """Seconds since the first of the current consecutive failures; 0 after a success."""
        since = self._failing_since
        return 0.0 if since is None else self._clock() - since

    def succeeded(self) -> None:
        """Record a success: the breaker closes."""
        with self._lock:
            self._failures = 0
            self._pause = self._shortest
            self.reason = ""
            self._failing_since = self._open_until = None

    def failed(self, reason: str = "") -> None:
        """Record a failure and its reason. While the breaker is open, those of earlier work do not extend the pause."""
        with self._lock:
            self._failures += 1
            self.reason = reason
            if self.state is BreakerState.TRIAL or self._failures >= self._threshold:
                self.trip()
            elif self._failing_since is None:
                self._failing_since = self._clock()

    def trip(self) -> None:
        """Open at once, regardless of the number of failures; while open, nothing changes."""
        with self._lock:
            state, now = self.state, self._clock()
            if self._failing_since is None:
                self._failing_since = now
            if state is BreakerState.TRIAL:
                self._pause = min(self._longest, 2 * self._pause)
            if state is not BreakerState.OPEN:
                self._open_until = now + self._pause
