"""Pictures that are not done yet, in the blob store: what one attempt leaves, the next goes on from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

from limner_shared.blobs import Blobs
from limner_shared.errors import StorageFailed, StorageFull
from limner_shared.telemetry import get_logger
from limner_worker.engine.request import JobRun, Row

log = get_logger(__name__)


class HalfMade:
    """One object for each image of a job. It is a help, never a need: what cannot be written or read is left out."""

    def __init__(self, blobs: Blobs, fingerprints: Mapping[str, Mapping[str, Any]]) -> None:
        """`fingerprints` of the models that this worker serves: what another one began, another one ends."""
        self._blobs = blobs
        self._fingerprints = fingerprints
        self._kept: dict[str, set[int]] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="half-made")

    def keep(self, job: JobRun, index: int, checkpoint: bytes) -> None:
        """Store where an image got to, and the batch sizes that brought it there; soon, on a thread of its own."""
        about = {"buckets": job.rows[index].task.buckets, "fingerprint": self._fingerprints[job.claim.spec.model]}
        self._kept.setdefault(job.id, set()).add(index)
        self._thread.submit(self._store, _name(job.id, index), json.dumps(about).encode() + b"\n" + checkpoint)

    def _store(self, name: str, data: bytes) -> None:
        try:
            self._blobs.keep(name, data)
        except (StorageFailed, StorageFull) as error:
            log.warning("could not keep what is half made", image=name, error=error.code)

    def resume(self, job: JobRun) -> None:
        """Give the job's images what earlier attempts left, if this is not the first."""
        if job.claim.attempt > 1:
            for row in job.rows:
                self._resume(job, row)

    def _resume(self, job: JobRun, row: Row) -> None:
        try:
            data = self._blobs.kept(_name(job.id, row.index))
        except StorageFailed:
            return
        if data is None:
            return
        self._kept.setdefault(job.id, set()).add(row.index)
        head, _, checkpoint = data.partition(b"\n")
        about = json.loads(head)
        if about["fingerprint"] == json.loads(json.dumps(self._fingerprints[job.claim.spec.model])):
            row.task.checkpoint = checkpoint
            row.task.buckets = about["buckets"]
            if row.task.replay is not None:
                row.task.replay = islice(row.task.replay, len(row.task.buckets), None)
            log.info("going on from what an earlier attempt left", job=job.id, image=row.index)

    def drop(self, job_id: str) -> None:
        """The job has ended."""
        for index in self._kept.pop(job_id, ()):
            self._thread.submit(self._delete, _name(job_id, index))

    def leave(self, job_id: str) -> None:
        """The job is not ours any more; what is kept of it is for the next."""
        self._kept.pop(job_id, None)

    def close(self) -> None:
        """Wait until all is written."""
        self._thread.shutdown(wait=True)

    def _delete(self, name: str) -> None:
        try:
            self._blobs.drop(name)
        except StorageFailed as error:
            log.warning("could not delete what was half made; the dispatcher will", image=name, error=error.code)


def _name(job_id: str, index: int) -> str:
    return f"{job_id}-{index}"
