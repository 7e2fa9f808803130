"""Jobs that wait for their model to be loaded, and whose turn it is. Pure policy: no torch, no clock, no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from limner_worker.engine.job_run import JobRun

PATIENCE_SECONDS: Final = 5.0
"""For so long a loaded model goes on taking in jobs while another one waits for its room; then it takes no more, and
its rows come to an end. Short enough to wait for, and long enough not to load and unload all the time."""


@dataclass(slots=True)
class _Line:
    since: float
    jobs: list[JobRun] = field(default_factory=list)


class PendingModels:
    """A line for each model; mostly they are empty again at once, for the model is there."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}  # the longest wait first

    def __len__(self) -> int:
        return sum(len(line.jobs) for line in self._lines.values())

    def add(self, model: str, job: JobRun, now: float) -> None:
        """A job of this model has come."""
        self._lines.setdefault(model, _Line(now)).jobs.append(job)

    def models(self, now: float) -> Sequence[str]:
        """The models that may be begun now, in this order; just one once it has waited too long."""
        if not self._lines:
            return ()
        first, line = next(iter(self._lines.items()))
        return [first] if now - line.since > PATIENCE_SECONDS else list(self._lines)

    def take(self, model: str) -> list[JobRun]:
        """All jobs of a model, to be begun together."""
        return self._lines.pop(model).jobs
