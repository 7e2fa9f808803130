"""Pictures that are not done yet, in the blob store: what one attempt leaves, the next goes on from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import islice
from typing import Any

from limner_shared.errors import StorageFailed, StorageFull
from limner_shared.storage.blobs import Blobs
from limner_shared.telemetry import get_logger
from limner_shared.threads import Supervisor
from limner_worker.engine.job_run import JobRun, Row

log = get_logger(__name__)


class CheckpointStore:
    """One object for each image of a job. It is a help, never a need: what cannot be written or read is left out."""

    def __init__(self, blobs: Blobs, fingerprints: Mapping[str, Mapping[str, Any]], threads: Supervisor) -> None:
        """`fingerprints` of the models that this worker serves: what another one began, another one ends."""
        self._blobs = blobs
        self._fingerprints = fingerprints
        self._thread = threads.pool("checkpoints", 1)

    def keep(self, job: JobRun, index: int, checkpoint: bytes) -> None:
        """Store where an image got to, and the batch sizes that brought it there; soon, on a thread of its own."""
        about = {"buckets": job.rows[index].task.buckets, "fingerprint": self._fingerprints[job.claim.spec.model]}
        job.kept.add(index)
        self._thread.submit(self._store, _name(job.id, index), json.dumps(about).encode() + b"\n" + checkpoint)

    def _store(self, name: str, data: bytes) -> None:
        try:
            self._blobs.keep(name, data)
        except (StorageFailed, StorageFull) as error:
            log.warning("could not store a checkpoint", image=name, error=error.code)

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
        job.kept.add(row.index)
        try:
            buckets, checkpoint = self._read(data, job.claim.spec.model)
        except (ValueError, KeyError, TypeError) as error:
            log.warning("a checkpoint cannot be read", job=job.id, image=row.index, error=repr(error)[:200])
            return
        if checkpoint is not None:
            row.task.checkpoint, row.task.buckets = checkpoint, buckets
            if row.task.replay is not None:
                row.task.replay = islice(row.task.replay, len(buckets), None)
            log.info("going on from what an earlier attempt left", job=job.id, image=row.index)

    def _read(self, data: bytes, model: str) -> tuple[list[int], bytes | None]:
        """The batch sizes so far, and the checkpoint; None for one of other weights. Raises ValueError and KeyError."""
        head, _, checkpoint = data.partition(b"\n")
        about = json.loads(head)
        buckets = about["buckets"]
        if not isinstance(buckets, list) or not all(isinstance(size, int) for size in buckets):
            raise ValueError("its batch sizes are no list of numbers")
        ours = about["fingerprint"] == json.loads(json.dumps(self._fingerprints[model]))
        return buckets, checkpoint if ours else None

    def drop(self, job: JobRun) -> None:
        """The job has ended."""
        for index in job.kept:
            self._thread.submit(self._delete, _name(job.id, index))

    def close(self) -> None:
        """Wait until all is written."""
        self._thread.close()

    def _delete(self, name: str) -> None:
        try:
            self._blobs.drop(name)
        except StorageFailed as error:
            log.warning("could not delete a checkpoint; the dispatcher will", image=name, error=error.code)


def _name(job_id: str, index: int) -> str:
    return f"{job_id}-{index}"
