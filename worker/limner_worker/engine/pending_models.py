"""Jobs that wait for their model to be loaded, and the order in which models are started.

Pure policy: no torch, no clock, no I/O.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from limner_worker.engine.job_run import JobRun

LONGEST_WAIT_SECONDS: Final = 5.0
"""How long loaded models accept new jobs while another model waits for memory. Afterwards they accept none, so that
their rows finish and make room. Short enough to wait for, and long enough not to load and unload models all the time.
"""


@dataclass(slots=True)
class _PendingModel:
    since: float
    jobs: list[JobRun] = field(default_factory=list[JobRun])


class PendingModels:
    """The waiting jobs of each model. A model that is loaded already is usually taken out again at once."""

    def __init__(self) -> None:
        self._pending: dict[str, _PendingModel] = {}  # in order of arrival: the longest wait first

    def __len__(self) -> int:
        return sum(len(model.jobs) for model in self._pending.values())

    def add(self, model: str, job: JobRun, now: float) -> None:
        """Add a job that waits for this model."""
        self._pending.setdefault(model, _PendingModel(now)).jobs.append(job)

    def startable(self, now: float) -> Sequence[str]:
        """Return the models that may be started now, in order; only the first one once it has waited too long."""
        if not self._pending:
            return ()
        name, first = next(iter(self._pending.items()))
        return [name] if now - first.since > LONGEST_WAIT_SECONDS else list(self._pending)

    def take(self, model: str) -> list[JobRun]:
        """Remove and return all waiting jobs of a model."""
        return self._pending.pop(model).jobs

    def take_some(self, model: str, images: int, now: float) -> list[JobRun]:
        """Remove and return jobs of a model with about this many images, to be started together; at least one job.

        The best lanes go first. The others wait as if they had just arrived, since their model is loaded.
        """
        waiting = sorted((job for job in self.take(model) if not job.closed), key=lambda job: job.claim.lane)
        counts = list(accumulate(len(job.rows) for job in waiting))
        taken = max(1, bisect_right(counts, images))
        for job in waiting[taken:]:
            self.add(model, job, now)
        return waiting[:taken]
