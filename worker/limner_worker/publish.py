"""From pixels to finished jobs: PNG, blob, ledger, acknowledgement, hints. Runs beside the device, not in its way."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from sqlalchemy.exc import DBAPIError

from limner_shared import ledger
from limner_shared.blobs import Blobs
from limner_shared.database import DATABASE_AWAY, Database
from limner_shared.errors import GenerationFailed, LimnerError
from limner_shared.events import Hints
from limner_shared.jobs import JobSpec
from limner_shared.ledger import Change, NewImage, Result
from limner_shared.replay import run_lengths
from limner_shared.telemetry import get_logger
from limner_worker.engine.request import JobRun, Row
from limner_worker.generators.base import Picture
from limner_worker.llm.present import alt_text
from limner_worker.provenance import PNG_KEY, xmp
from limner_worker.sharing import recipes

log = get_logger(__name__)

STORED_AT_ONCE = 8
PRESENTED_AT_ONCE = 16
COMMITTED_AT_ONCE = 200
"""Jobs whose results share a transaction: one commit costs about as much as the rows of a dozen jobs."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A job that ended here, and what the ledger shall say of it; no result, and its lease will run out."""

    job: JobRun
    result: Result | None


class Presents(Protocol):
    """Puts a finished job into words, or has nothing to say."""

    def asks(self, spec: JobSpec) -> bool:
        """Whether that may take a while."""
        ...

    def __call__(self, spec: JobSpec, picture: Picture | None) -> str | None:
        """The words; `picture` is the first one that was made."""
        ...


class Publisher:
    """Two threads store pictures; one commits whatever is ready by then, and acknowledges it.

    Others wait for a language model's words, where some are wanted, so that nobody else waits for them.

    Bounded: every job in here still holds its place in the worker's admission.
    """

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        hints: Hints,
        patience: float,
        forget: Callable[[str], None],
        present: Presents,
    ) -> None:
        """`patience`: seconds for which a database that is away is waited for; `forget` ends the lease's renewal;
        `present` puts a finished job into words.
        """
        self._present = present
        self._database = database
        self._blobs = blobs
        self._hints = hints
        self._patience = patience
        self._forget = forget
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="publish")
        self._presenting = ThreadPoolExecutor(max_workers=PRESENTED_AT_ONCE, thread_name_prefix="present")
        self._ready: SimpleQueue[list[Outcome] | None] = SimpleQueue()
        self._committer = threading.Thread(target=self._commit_forever, name="commit", daemon=True)
        self._committer.start()

    def succeed(self, jobs: Sequence[JobRun], fingerprint: dict[str, Any]) -> None:
        """Store the jobs' pictures and finish them; a thread takes a few at a time, so that both have work."""
        for start in range(0, len(jobs), STORED_AT_ONCE):
            self._threads.submit(self._store_some, jobs[start : start + STORED_AT_ONCE], fingerprint)

    def share(self, job: JobRun, images: Sequence[NewImage]) -> None:
        """Finish a job with pictures that are stored already."""
        self._present_all([Outcome(job, Result(job.id, job.claim.attempt, images))])

    def fail(self, job: JobRun, error: LimnerError) -> None:
        """Record why the job failed."""
        self._ready.put([Outcome(job, Result(job.id, job.claim.attempt, error=error))])

    def close(self) -> None:
        """Wait until all that was handed in is committed."""
        self._threads.shutdown(wait=True)
        self._presenting.shutdown(wait=True)
        self._ready.put(None)
        self._committer.join()

    # --- pictures ---

    def _store_some(self, jobs: Sequence[JobRun], fingerprint: dict[str, Any]) -> None:
        self._present_all([Outcome(job, self._store_all(job, fingerprint)) for job in jobs])

    def _present_all(self, outcomes: Sequence[Outcome]) -> None:
        asking, ready = list[Outcome](), list[Outcome]()
        for outcome in outcomes:
            stored = outcome.result is not None and outcome.result.error is None
            (asking if stored and self._present.asks(outcome.job.claim.spec) else ready).append(outcome)
        if ready:
            self._ready.put([self._presented(outcome) for outcome in ready])
        for outcome in asking:
            self._presenting.submit(lambda each: self._ready.put([self._presented(each)]), outcome)

    def _presented(self, outcome: Outcome) -> Outcome:
        if outcome.result is None or outcome.result.error is not None:
            return outcome
        words = self._present(outcome.job.claim.spec, outcome.job.rows[0].picture)
        return replace(outcome, result=replace(outcome.result, presentation=words))

    def _store_all(self, job: JobRun, fingerprint: dict[str, Any]) -> Result | None:
        try:
            images = [self._store(row, fingerprint) for row in job.rows]
            shared = recipes(job.claim, fingerprint) or [None] * len(images)
            images = [replace(image, recipe=recipe) for image, recipe in zip(images, shared, strict=True)]
            return Result(job.id, job.claim.attempt, images)
        except LimnerError as error:
            log.error("could not store a picture", job=job.id, error=error.code)
            return Result(job.id, job.claim.attempt, error=error)
        except Exception:  # whatever it is, the lease will run out and the job will be tried again
            log.exception("could not store a picture", job=job.id)
            return None

    def _store(self, row: Row, fingerprint: dict[str, Any]) -> NewImage:
        if row.picture is None:
            raise GenerationFailed("The picture is missing.")
        spec = row.task.spec
        png = encode_png(row.picture, xmp(spec, row.task.seed) if spec.provenance else None)
        height, width, _ = row.picture.shape
        receipt = {"seed": row.task.seed, "buckets": run_lengths(row.task.buckets), **fingerprint}
        if spec.scheduler:
            receipt["sampler"] = spec.scheduler
        return NewImage(
            sha256=self._blobs.put(png),
            media_type="image/png",
            width=width,
            height=height,
            size_bytes=len(png),
            seed=row.task.seed,
            receipt=receipt,
            alt_text=alt_text(spec),
        )

    # --- ledger ---

    def _commit_forever(self) -> None:
        open_ = True
        while open_:
            outcomes, open_ = self._take()
            if outcomes:
                self._commit(outcomes)

    def _take(self) -> tuple[list[Outcome], bool]:
        """What is ready, waiting for the first; and whether more will come."""
        some = self._ready.get()
        taken: list[Outcome] = []
        try:
            while some is not None:
                taken += some
                if len(taken) >= COMMITTED_AT_ONCE:
                    break
                some = self._ready.get_nowait()
        except Empty:
            pass
        return taken, some is not None

    def _commit(self, outcomes: list[Outcome]) -> None:
        results = [outcome.result for outcome in outcomes if outcome.result is not None]
        changes: list[Change] = []
        try:
            changes = self._write(results)
        except Exception:  # whatever it is, the leases will run out and the jobs will be tried again
            log.exception("could not commit", jobs=[result.job_id for result in results])
        finally:
            for outcome in outcomes:
                self._forget(outcome.job.id)
                outcome.job.settle()
        done = {change.id: change.state.value for change in changes}
        if done:
            log.info("done", jobs=done)
        discarded = [result.job_id for result in results if result.job_id not in done]
        if discarded:
            log.info("results discarded: canceled, or another attempt's", jobs=discarded)
        self._hints.changed(changes)

    def _write(self, results: Sequence[Result]) -> list[Change]:
        """Write all, again while the database is away; where one of them is refused, each alone."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return self._write_once(results)
            except DATABASE_AWAY as error:
                if time.monotonic() > deadline:
                    raise
                log.warning("database away, trying again", jobs=len(results), error=str(error.orig)[:200])
                time.sleep(0.5)
            except DBAPIError:
                if len(results) == 1:
                    raise
                return [change for result in results for change in self._write_alone(result)]

    def _write_alone(self, result: Result) -> list[Change]:
        try:
            return self._write([result])
        except DBAPIError:
            log.exception("could not commit", job=result.job_id)
            return []

    def _write_once(self, results: Sequence[Result]) -> list[Change]:
        with self._database.write() as session:
            changes = ledger.finish(session, [result for result in results if result.error is None])
            failures = [ledger.fail(session, result) for result in results if result.error is not None]
        return changes + [change for change in failures if change is not None]


def encode_png(picture: Picture, packet: str | None = None) -> bytes:
    """A PNG of the pixels, and of an XMP packet, so that the same pixels made in the same way are the same bytes."""
    buffer = io.BytesIO()
    info = PngInfo()
    if packet is not None:
        info.add_itxt(PNG_KEY, packet)
    Image.fromarray(picture).save(buffer, "PNG", compress_level=4, pnginfo=info)
    return buffer.getvalue()
