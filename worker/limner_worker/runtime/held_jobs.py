"""The attempts that this worker holds, from claim to commit, hand-back or lost lease. Safe from any thread.

An attempt is identified by its job's id and its number, never by the id alone: after an outage of the database a worker
may claim a job again that it still holds from before.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from limner_shared.db.ledger import AttemptKey
from limner_worker.engine.job_run import JobRun


class HeldJobs:
    """The held attempts and the working ones among them.

    An attempt is working until exactly one caller finishes it, and held (its lease is renewed) until it is removed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[AttemptKey, JobRun] = {}
        self._working: dict[AttemptKey, JobRun] = {}

    def __len__(self) -> int:
        return len(self._held)

    def add(self, jobs: Iterable[JobRun]) -> list[JobRun]:
        """Hold new attempts. Returns earlier attempts at the same jobs, which the caller must abort."""
        with self._lock:
            new = {job.key: job for job in jobs}
            ids = {key.job_id for key in new}
            earlier = [job for key, job in self._held.items() if key.job_id in ids and key not in new]
            self._held |= new
            self._working |= new
            return earlier

    def is_working(self, job: JobRun) -> bool:
        """Whether the attempt is not finished yet."""
        return self._working.get(job.key) is job

    def finish(self, job: JobRun) -> bool:
        """Mark an attempt as finished.

        The one caller that gets True publishes its result, hands it back or aborts it, and sees to its acknowledgement.
        """
        with self._lock:
            return self._working.pop(job.key, None) is job

    def remove(self, job: JobRun) -> None:
        """Stop holding an attempt whose end is committed or given up: its lease is no longer renewed."""
        with self._lock:
            self._held.pop(job.key, None)

    def keys(self) -> set[AttemptKey]:
        """Return the identities of all held attempts."""
        with self._lock:
            return set(self._held)

    def all(self) -> list[JobRun]:
        """Return the runs of all held attempts."""
        with self._lock:
            return list(self._held.values())

    def find(self, keys: Iterable[AttemptKey]) -> list[JobRun]:
        """Return the runs of those of these attempts that are still held."""
        with self._lock:
            return [self._held[key] for key in keys if key in self._held]

    def of_job(self, job_id: str) -> list[JobRun]:
        """Return the held attempts at one job."""
        with self._lock:
            return [job for key, job in self._held.items() if key.job_id == job_id]
