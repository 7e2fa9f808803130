"""Finishes drawn pictures on the CPU, beside the engine: scenes are put together, and values become bytes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from limner_shared.errors import LimnerError
from limner_shared.telemetry import get_logger
from limner_shared.threads import Supervisor
from limner_worker.engine.failure_reasons import failure_reason
from limner_worker.engine.job_run import JobRun

log = get_logger(__name__)

AT_ONCE: Final = 2
"""Threads. More would only slow the engine down, which needs the same cores to call its device."""
GATHER_SECONDS: Final = 0.005
"""Jobs that are finished within this time are stored as one group."""

Fingerprint = dict[str, Any]


class Finishing:
    """A few threads. Pictures do not wait for the disk here: unfinished ones may take four times the memory."""

    def __init__(
        self,
        supervisor: Supervisor,
        finished: Callable[[Sequence[JobRun], Fingerprint], None],
        failed: Callable[[JobRun, LimnerError], None],
    ) -> None:
        """`finished` receives jobs whose rows all have their pictures, `failed` one for which that is not possible."""
        self._finished = finished
        self._failed = failed
        self._threads = supervisor.pool("finish", AT_ONCE)

    def submit(self, jobs: Sequence[JobRun], fingerprint: Fingerprint) -> None:
        """Finish the pictures of jobs of one model, which has this fingerprint. Safe from any thread."""
        self._threads.submit(self._finish_all, jobs, fingerprint)

    def close(self) -> None:
        """Wait until every submitted job is finished."""
        self._threads.close()

    def _finish_all(self, jobs: Sequence[JobRun], fingerprint: Fingerprint) -> None:
        done: list[JobRun] = []
        began = time.perf_counter()
        for job in jobs:
            done += [job] if self._finish(job) else []
            if done and time.perf_counter() - began > GATHER_SECONDS:
                self._finished(done, fingerprint)
                done, began = [], time.perf_counter()
        if done:
            self._finished(done, fingerprint)

    def _finish(self, job: JobRun) -> bool:
        try:
            job.finish()
        except Exception as error:  # the other jobs' pictures go on
            log.exception("could not finish a picture", job=job.id)
            self._failed(job, failure_reason(error, job.claim.spec))
            return False
        return True
