"""Checkpoints of unfinished images in the picture store: the next attempt at a job continues from them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final, cast

from limner_shared.errors import StorageFailed, StorageFull
from limner_shared.storage.blobs import Blobs
from limner_shared.storage_failures import reason_of
from limner_shared.telemetry import get_logger
from limner_shared.threads import Supervisor
from limner_worker.engine.job_run import JobRun, Row

log = get_logger(__name__)

FLUSH_SECONDS: Final = 30.0
"""How long a worker that drains or ends waits for a slow store. What is not stored by then costs some steps."""


class CheckpointStore:
    """One object for each image of a job. Checkpoints are optional: one that cannot be written or read is skipped."""

    def __init__(self, blobs: Blobs, fingerprints: Mapping[str, Mapping[str, Any]], supervisor: Supervisor) -> None:
        """`fingerprints` identify the models that this worker serves; a checkpoint is used only by an equal model."""
        self._blobs = blobs
        self._fingerprints = fingerprints
        self._thread = supervisor.pool("checkpoints", 1)
        self._lock = threading.Lock()
        self._waiting: dict[str, bytes] = {}
        """The newest checkpoint of each image that is to be written: a slow store does not make them pile up."""
        self._give_up_at = float("inf")

    def store(self, job: JobRun, index: int, checkpoint: bytes) -> None:
        """Store an image's checkpoint and the batches so far, asynchronously on a separate thread."""
        task = job.rows[index].task
        about = self._fingerprints[job.claim.spec.model]
        header = {"buckets": task.buckets, "places": task.places, "fingerprint": about, "adapters": task.adapter_files}
        job.checkpointed_images.add(index)
        name = _name(job.id, index)
        with self._lock:
            is_new = name not in self._waiting
            self._waiting[name] = json.dumps(header).encode() + b"\n" + checkpoint
        if is_new:
            self._thread.submit(self._write, name)

    def _write(self, name: str) -> None:
        data = self._take(name)
        if data is None or time.monotonic() > self._give_up_at:
            return
        try:
            self._blobs.store_checkpoint(name, data)
        except (StorageFailed, StorageFull) as error:
            about = {"job": name.rpartition("-")[0], "image": name, "error": error.code, "reason": reason_of(error)}
            log.warning("could not store a checkpoint", **about)

    def _take(self, name: str) -> bytes | None:
        with self._lock:
            return self._waiting.pop(name, None)

    def load(self, job: JobRun) -> None:
        """Load the checkpoints of earlier attempts into the job's rows, if this is not the first attempt."""
        if job.claim.attempt > 1:
            for row in job.rows:
                self._load_row(job, row)

    def _load_row(self, job: JobRun, row: Row) -> None:
        try:
            data = self._blobs.load_checkpoint(_name(job.id, row.index))
        except StorageFailed:
            return
        if data is None:
            return
        job.checkpointed_images.add(row.index)
        try:
            buckets, places, adapters, checkpoint = self._parse(data, job.claim.spec.model)
        except (ValueError, KeyError, TypeError) as error:
            log.warning("could not read a checkpoint", job=job.id, image=row.index, error=repr(error)[:200])
            return
        if checkpoint is not None:
            row.task.checkpoint, row.task.buckets, row.task.places = checkpoint, buckets, places
            row.task.checkpoint_adapters = adapters
            if row.task.replay is not None:
                row.task.replay = islice(row.task.replay, len(buckets), None)
            if row.task.replay_places is not None:
                row.task.replay_places = islice(row.task.replay_places, len(places), None)
            log.info("resuming from an earlier attempt's checkpoint", job=job.id, image=row.index)

    def _parse(self, data: bytes, model: str) -> tuple[list[int], list[int], dict[str, str], bytes | None]:
        """Return the batch sizes, the places, the SHA-256 of the adapter files, and the checkpoint, which is None if
        another model or device made it.

        Raises ValueError, KeyError or TypeError for damaged data.
        """
        first_line, _, checkpoint = data.partition(b"\n")
        header = json.loads(first_line)
        # Earlier releases wrote no places, and no adapters.
        buckets, places = _whole_numbers(header["buckets"]), _whole_numbers(header.get("places", []))
        same_model = header["fingerprint"] == json.loads(json.dumps(self._fingerprints[model]))
        return buckets, places, dict(header.get("adapters", {})), checkpoint if same_model else None

    def delete(self, job: JobRun) -> None:
        """Delete a job's checkpoints, asynchronously."""
        for index in job.checkpointed_images:
            self._thread.submit(self._delete, _name(job.id, index))

    def flush(self) -> None:
        """Wait for the writes and deletions that were submitted before, for FLUSH_SECONDS at most."""
        done = threading.Event()
        self._thread.submit(done.set)
        if not done.wait(FLUSH_SECONDS):
            log.warning("checkpoints are late, going on without them", waiting=len(self._waiting))

    def close(self) -> None:
        """Wait for the pending writes and deletions; none begins after FLUSH_SECONDS."""
        self._give_up_at = time.monotonic() + FLUSH_SECONDS
        self._thread.close()

    def _delete(self, name: str) -> None:
        self._take(name)
        if time.monotonic() > self._give_up_at:
            return
        try:
            self._blobs.delete_checkpoint(name)
        except StorageFailed as error:
            log.warning(
                "could not delete a checkpoint; the dispatcher will",
                job=name.rpartition("-")[0],
                image=name,
                error=error.code,
            )


def _whole_numbers(values: Any) -> list[int]:
    if not isinstance(values, list) or not all(isinstance(each, int) for each in cast("list[Any]", values)):
        raise ValueError("its batch sizes or places are not lists of numbers")
    return cast("list[int]", values)


def _name(job_id: str, index: int) -> str:
    return f"{job_id}-{index}"
