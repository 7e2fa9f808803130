"""The interface through which the engine reports what happens to jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from limner_shared.errors import LimnerError
from limner_worker.engine.job_run import JobRun
from limner_worker.generators.base import Picture


class EngineListener(Protocol):
    """Receives the engine's events. Called on the engine's thread, so each method must return quickly."""

    def progressed(self, job: JobRun) -> None:
        """Rows of the job took a step."""
        ...

    def previewed(self, job: JobRun, picture: Picture) -> None:
        """A rough, small preview of a job whose preview is wanted is available."""
        ...

    def checkpointed(self, job: JobRun, index: int, checkpoint: bytes) -> None:
        """A checkpoint of one image is available; another attempt can continue from it."""
        ...

    def generated(self, jobs: Sequence[JobRun]) -> None:
        """Every row of these jobs, all of one model, is drawn."""
        ...

    def failed(self, job: JobRun, error: LimnerError) -> None:
        """The job failed with this error."""
        ...

    def unavailable(self, jobs: Sequence[JobRun], reason: str) -> None:
        """This worker cannot run these jobs, all of one model, now; another worker may."""
        ...
