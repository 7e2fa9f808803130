"""How many released, unclaimed jobs of a model and lane stand in Redis: few enough that a newcomer waits behind few,
enough that the workers never wait for the dispatcher's next round. Pure policy.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Window:
    """Doubles when the workers emptied it within a round, and shrinks slowly when they did not need it."""

    smallest: int
    largest: int
    size: int = 0

    def __post_init__(self) -> None:
        self.size = self.size or self.smallest

    def adapt(self, unclaimed: int, released_before: int) -> bool:
        """Learn from what is left of what was released in the round before; says whether the workers are ahead."""
        ahead = released_before > 0 and unclaimed <= self.size // 4
        if ahead and released_before >= self.size // 2:
            self.size = min(self.size * 2, self.largest)
        elif unclaimed > self.size * 3 // 4:
            self.size = max(self.size - self.size // 16, self.smallest)
        return ahead

    def room(self, unclaimed: int) -> int:
        """How many more may be released."""
        return max(0, self.size - unclaimed)

    @property
    def jobs_a_message(self) -> int:
        """Several, once so many jobs pass that their messages would cost more than their work."""
        return max(1, min(64, self.size // 32))
