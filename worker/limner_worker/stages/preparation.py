"""Reads what a job needs of the picture store before the engine starts it: its input pictures, and its checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from limner_shared import tracing
from limner_shared.circuit_breaker import Breaker
from limner_shared.errors import GenerationFailed, LimnerError, StorageFailed, StorageFull
from limner_shared.storage.blobs import Blobs
from limner_shared.storage_failures import reason_of
from limner_shared.telemetry import get_logger
from limner_shared.threads import Supervisor
from limner_worker.engine.attempt_trace import stage_of
from limner_worker.engine.job_run import JobRun
from limner_worker.stages.checkpoints import CheckpointStore
from limner_worker.stages.input_images import load_inputs

log = get_logger(__name__)

AT_ONCE: Final = 4
"""Threads that read: the store may take long."""


class Preparation:
    """A few threads that prepare jobs."""

    def __init__(
        self,
        blobs: Blobs,
        checkpoints: CheckpointStore,
        store_breaker: Breaker,
        supervisor: Supervisor,
        ready: Callable[[Sequence[JobRun]], None],
        returned: Callable[[Sequence[JobRun]], None],
        refused: Callable[[JobRun, LimnerError], None],
    ) -> None:
        """`ready` receives jobs that are prepared, `returned` those that another worker may be able to prepare, and
        `refused` those whose input is missing, damaged or unreadable.
        """
        self._blobs = blobs
        self._checkpoints = checkpoints
        self._breaker = store_breaker
        self._ready = ready
        self._returned = returned
        self._refused = refused
        self._threads = supervisor.pool("prepare", AT_ONCE)

    def submit(self, job: JobRun) -> None:
        """Prepare a job. Safe from any thread."""
        self._threads.submit(self._prepare, job)

    def close(self) -> None:
        """Wait until every submitted job is prepared."""
        self._threads.close()

    def _prepare(self, job: JobRun) -> None:
        started = tracing.clock()
        try:
            load_inputs(self._blobs, job)
            self._checkpoints.load(job)
            stage_of([job.trace], "prepare", started)
        except (StorageFailed, StorageFull) as error:
            log.warning("could not read an input, handing the job back", job=job.id, reason=reason_of(error))
            self._breaker.failed(reason_of(error))
            self._returned([job])
        except LimnerError as error:
            self._refused(job, error)
        except Exception:
            log.exception("could not prepare a job", job=job.id)
            self._refused(job, GenerationFailed())
        else:
            self._ready([job])
