"""The number of released, unclaimed jobs of a model and lane in Redis: small enough that a new job waits behind few
others, large enough that the workers never wait for the dispatcher's next round. Pure policy; the time is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

WORTH_SECONDS: Final = 0.4
"""The window holds about this much of the workers' time, but is never smaller than its minimum."""
PROBE_SECONDS: Final = 0.05
"""The wait for the next round while the rate of claims is not known."""


@dataclass(slots=True)
class ReleaseWindow:
    """The window of one lane. It grows with the rate at which workers claim, and shrinks slowly with it."""

    smallest: int
    largest: int
    size: int = 0
    _held: int = 0
    _at: float = 0.0
    _rate: float = 0.0
    _known: bool = False
    """Whether the rate is known: the held jobs lasted until the last look."""

    def __post_init__(self) -> None:
        self.size = self.size or self.smallest

    def room(self, unclaimed: int, now: float) -> int:
        """Update the rate from the jobs that are left of the last round; returns how many more may be released."""
        if self._held >= self.size // 2 and now > self._at:
            self._rate = max(0, self._held - unclaimed) / (now - self._at)
            self._known = unclaimed > 0 and self._rate > 0
            wanted = int(self._rate * WORTH_SECONDS) if unclaimed else 2 * self.size
            self.size = max(
                self.smallest, min(self.largest, 2 * self.size, max(wanted, self.size - max(1, self.size // 16)))
            )
        else:
            self._known = False
            self.size = max(self.smallest, self.size // 2) if not self._held else self.size  # nothing to learn from
        return max(0, self.size - unclaimed)

    def fill(self, unclaimed: int, released: int, now: float) -> None:
        """Record the number of held jobs after a round."""
        self._held, self._at = unclaimed + released, now

    @property
    def seconds_left(self) -> float:
        """Seconds until the next round: half of the held jobs are claimed by then, or the rate will be known."""
        return self._held / 2 / self._rate if self._known else PROBE_SECONDS

    @property
    def jobs_a_message(self) -> int:
        """Jobs for each message: several once the rate is so high that single messages would cost more than their
        jobs.
        """
        return max(1, min(64, self.size // 8))
