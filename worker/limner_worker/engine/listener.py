"""What the engine tells, and whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from limner_shared.errors import LimnerError
from limner_worker.engine.job_run import JobRun
from limner_worker.generators.base import Picture


class EngineListener(Protocol):
    """Who hears of what the engine did. Called on the engine's thread, so each returns at once."""

    def progressed(self, job: JobRun) -> None:
        """Some rows of the job took a step."""
        ...

    def previewed(self, job: JobRun, picture: Picture) -> None:
        """So the job looks, roughly and smaller, to those who watch it."""
        ...

    def half_made(self, job: JobRun, index: int, checkpoint: bytes) -> None:
        """From here another attempt can go on with the job's image."""
        ...

    def generated(self, jobs: Sequence[JobRun]) -> None:
        """Every row of these jobs of one model has its picture."""
        ...

    def failed(self, job: JobRun, error: LimnerError) -> None:
        """The job cannot be done."""
        ...

    def unavailable(self, jobs: Sequence[JobRun], reason: str) -> None:
        """This worker cannot do these jobs of one model now; another one may."""
        ...
