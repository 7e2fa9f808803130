"""From pixels to a finished job: PNG, blob, ledger, acknowledgement, hints. Runs beside the device, not in its way."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from PIL import Image
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from limner_shared import ledger
from limner_shared.blobs import Blobs
from limner_shared.database import Database
from limner_shared.errors import LimnerError
from limner_shared.events import Hints
from limner_shared.ledger import Change, NewImage
from limner_shared.telemetry import get_logger
from limner_worker.engine.request import JobRun, Row
from limner_worker.generators.base import Picture

log = get_logger(__name__)

Forget = Callable[[str], None]


class Publisher:
    """A bounded stage: at most the worker's slots of jobs are in it, since each holds its slot until it is out."""

    def __init__(self, database: Database, blobs: Blobs, hints: Hints, patience: float, forget: Forget) -> None:
        """`patience`: seconds for which a database that is away is waited for; `forget` ends the lease's renewal."""
        self._database = database
        self._blobs = blobs
        self._hints = hints
        self._patience = patience
        self._forget = forget
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="publish")

    def succeed(self, job: JobRun, fingerprint: dict[str, Any]) -> None:
        """Store the job's pictures and finish it."""
        self._threads.submit(self._logged, lambda: self._succeed(job, fingerprint), job)

    def fail(self, job: JobRun, error: LimnerError) -> None:
        """Record why the job failed."""
        self._threads.submit(self._logged, lambda: self._fail(job, error), job)

    def close(self) -> None:
        """Wait until all that was handed in is committed."""
        self._threads.shutdown(wait=True)

    def _logged(self, action: Callable[[], None], job: JobRun) -> None:
        try:
            action()
        except Exception:  # whatever it is, the lease will run out and the job will be tried again
            log.exception("could not publish", job=job.id)
        finally:
            self._forget(job.id)
            job.settle()

    def _succeed(self, job: JobRun, fingerprint: dict[str, Any]) -> None:
        try:
            images = [self._store(row, fingerprint) for row in job.rows]
        except LimnerError as error:
            log.error("could not store a picture", job=job.id, error=error.code)
            self._fail(job, error)
            return
        self._commit(job, lambda session: ledger.finish(session, job.id, job.claim.attempt, images))

    def _fail(self, job: JobRun, error: LimnerError) -> None:
        self._commit(job, lambda session: ledger.fail(session, job.id, job.claim.attempt, error))

    def _store(self, row: Row, fingerprint: dict[str, Any]) -> NewImage:
        png = encode_png(row.picture)
        height, width, _ = row.picture.shape
        receipt = {"seed": row.seed, "buckets": run_lengths(row.buckets), **fingerprint}
        return NewImage(self._blobs.put(png), "image/png", width, height, len(png), row.seed, receipt)

    def _commit(self, job: JobRun, write: Callable[[Session], Change | None]) -> None:
        """Write, and try again while the database is away: the pictures are worth waiting for as long as the lease."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                with self._database.write() as session:
                    change = write(session)
                break
            except DBAPIError as error:
                if time.monotonic() > deadline:
                    raise
                log.warning("database away, trying again", job=job.id, error=str(error.orig)[:200])
                time.sleep(0.5)
        if change is None:
            log.info("late result discarded", job=job.id, attempt=job.claim.attempt)
            return
        log.info("job done", job=job.id, state=change.state.value)
        self._hints.changed([change])


def encode_png(picture: Picture) -> bytes:
    """A PNG of the pixels and nothing else, so that the same pixels are the same bytes."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def run_lengths(buckets: list[int]) -> list[list[int]]:
    """[8, 8, 4] → [[8, 2], [4, 1]]: the receipt of a hundred steps stays short."""
    runs: list[list[int]] = []
    for bucket in buckets:
        if runs and runs[-1][0] == bucket:
            runs[-1][1] += 1
        else:
            runs.append([bucket, 1])
    return runs
