"""The attempts in this worker's hands, from claim to commit, hand-back or loss. Safe from any thread.

An attempt is identified by its job's id and its number, never by the id alone: after an outage of the database a worker
may claim a job again that it still holds from before.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from limner_shared.db.ledger import AttemptKey
from limner_worker.engine.job_run import JobRun


class HeldJobs:
    """An attempt is `working` until exactly one caller ends it, and held (its lease is renewed) until it is removed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[AttemptKey, JobRun] = {}
        self._working: dict[AttemptKey, JobRun] = {}

    def __len__(self) -> int:
        return len(self._held)

    def add(self, jobs: Iterable[JobRun]) -> list[JobRun]:
        """Hold new attempts. Returns earlier attempts at the same jobs, which the caller must drop."""
        with self._lock:
            new = {job.key: job for job in jobs}
            ids = {key.job_id for key in new}
            earlier = [job for key, job in self._held.items() if key.job_id in ids and key not in new]
            self._held |= new
            self._working |= new
            return earlier

    def is_working(self, job: JobRun) -> bool:
        """Whether the attempt has not ended yet."""
        return self._working.get(job.key) is job

    def end(self, job: JobRun) -> bool:
        """End an attempt: the caller that gets True publishes its result, drops it or hands it back, and settles it."""
        with self._lock:
            return self._working.pop(job.key, None) is job

    def remove(self, job: JobRun) -> None:
        """Its end is written or given up: its lease is renewed no longer."""
        with self._lock:
            self._held.pop(job.key, None)

    def keys(self) -> set[AttemptKey]:
        """Every held attempt."""
        with self._lock:
            return set(self._held)

    def all(self) -> list[JobRun]:
        """Every held attempt's run."""
        with self._lock:
            return list(self._held.values())

    def find(self, keys: Iterable[AttemptKey]) -> list[JobRun]:
        """The runs of these attempts, as far as they are still held."""
        with self._lock:
            return [self._held[key] for key in keys if key in self._held]

    def of_job(self, job_id: str) -> list[JobRun]:
        """The attempts at one job."""
        with self._lock:
            return [job for key, job in self._held.items() if key.job_id == job_id]
