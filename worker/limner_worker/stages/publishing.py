"""From pixels to finished jobs: PNG, blob, ledger, acknowledgement, hints. Runs beside the device, not in its way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import Any, Final, Protocol

from limner_shared.circuit_breaker import Breaker
from limner_shared.db import ledger
from limner_shared.db.engine import DATABASE_AWAY, Database, describe
from limner_shared.db.ledger import Change, NewImage, Result
from limner_shared.domain.jobs import JobSpec
from limner_shared.errors import LimnerError, StorageFailed, StorageFull
from limner_shared.messaging.hints import Hints
from limner_shared.storage.blobs import Blobs
from limner_shared.telemetry import get_logger
from limner_shared.threads import Supervisor
from limner_worker.engine.job_run import JobRun
from limner_worker.generators.base import Picture
from limner_worker.stages.deduplication import deduplication_keys
from limner_worker.stages.picture_files import store_picture

log = get_logger(__name__)

STORED_AT_ONCE: Final = 8
PRESENTED_AT_ONCE: Final = 16
COMMITTED_AT_ONCE: Final = 200
"""Jobs whose results share a transaction: one commit costs about as much as the rows of a dozen jobs."""
RETRY_SECONDS: Final = 0.5
LAST_TRIES: Final = 10
"""Of a stopping worker, while the database is away."""
STORE_PATIENCE_SECONDS: Final = 60.0
"""A picture store that fails for longer than this gets no more tries from jobs in hand; they are handed back."""
UNIT_SECONDS: Final = 600.0
"""One batch of commits that lasts longer is stalled, unless the database is away."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """An attempt that ended here. Without a result it goes back to the queue: `charged` as a loss, or not."""

    job: JobRun
    result: Result | None
    charged: bool = True


class Presents(Protocol):
    """Puts a finished job into words, or has nothing to say."""

    def asks(self, spec: JobSpec) -> bool:
        """Whether that may take a while."""
        ...

    def __call__(self, spec: JobSpec, picture: Picture | None) -> str | None:
        """The words; `picture` is the first one that was made."""
        ...


class Publisher:
    """Two threads store pictures; one commits all that is ready by then, and acknowledges it.

    Others wait for a language model's words, where some are wanted, so that no other job waits for them. What passes
    (a full disk, a store or a database that is away) is waited for, while the worker takes nothing new. Bounded: every
    job in here still holds its place in the worker's admission.
    """

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        hints: Hints,
        threads: Supervisor,
        store: Breaker,
        ended: Callable[[JobRun], None],
        present: Presents,
    ) -> None:
        """`store` hears how the picture store does; `ended` ends the lease's renewal; `present` puts a finished job
        into words.
        """
        self._present = present
        self._database = database
        self._blobs = blobs
        self._hints = hints
        self._threads = threads
        self._store_breaker = store
        self._ended = ended
        self._closing = threading.Event()
        self._storing = threads.pool("publish", 2)
        self._presenting = threads.pool("present", PRESENTED_AT_ONCE)
        self._ready: SimpleQueue[list[Outcome] | None] = SimpleQueue()
        self._committer = threads.start("commit", self._commit_forever, limit_seconds=UNIT_SECONDS)

    def succeed(self, jobs: Sequence[JobRun], fingerprint: dict[str, Any]) -> None:
        """Store the jobs' pictures and finish them; a thread takes a few at a time, so that both have work."""
        for start in range(0, len(jobs), STORED_AT_ONCE):
            self._storing.submit(self._store_some, jobs[start : start + STORED_AT_ONCE], fingerprint)

    def share(self, job: JobRun, images: Sequence[NewImage]) -> None:
        """Finish a job with pictures that are stored already."""
        self._present_all([Outcome(job, Result(job.id, job.claim.attempt, images))])

    def fail(self, job: JobRun, error: LimnerError) -> None:
        """Record why the job failed."""
        self._ready.put([Outcome(job, Result(job.id, job.claim.attempt, error=error))])

    def hand_back(self, jobs: Sequence[JobRun]) -> None:
        """Put jobs back into the queue, uncharged: this worker cannot do them now."""
        self._ready.put([Outcome(job, None, charged=False) for job in jobs])

    def close(self) -> None:
        """Wait until all that was handed in is committed, as far as store and database answer."""
        self._closing.set()
        self._storing.close()
        self._presenting.close()
        self._ready.put(None)
        self._committer.join()

    # --- pictures ---

    def _store_some(self, jobs: Sequence[JobRun], fingerprint: dict[str, Any]) -> None:
        self._present_all([self._stored(job, fingerprint) for job in jobs])

    def _stored(self, job: JobRun, fingerprint: dict[str, Any]) -> Outcome:
        """The job's pictures in the store; tried again while the store fails, until that has lasted too long."""
        while True:
            try:
                result = self._store(job, fingerprint)
                self._store_breaker.succeeded()
            except (StorageFull, StorageFailed) as error:
                self._store_breaker.failed()
                log.warning("could not store a picture", job=job.id, error=error.code)
                if self._store_breaker.failing_seconds > STORE_PATIENCE_SECONDS or self._closing.wait(RETRY_SECONDS):
                    return Outcome(job, None, charged=False)
            except LimnerError as error:
                return Outcome(job, Result(job.id, job.claim.attempt, error=error))
            except Exception:  # whatever it is, the attempt is lost and the job will be tried again
                log.exception("could not store a picture", job=job.id)
                return Outcome(job, None)
            else:
                return Outcome(job, result)

    def _store(self, job: JobRun, fingerprint: dict[str, Any]) -> Result:
        images = [store_picture(self._blobs, row, fingerprint) for row in job.rows]
        shared = deduplication_keys(job.claim, fingerprint) or [None] * len(images)
        images = [replace(image, deduplication_key=key) for image, key in zip(images, shared, strict=True)]
        return Result(job.id, job.claim.attempt, images)

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
        try:
            words = self._present(outcome.job.claim.spec, outcome.job.rows[0].picture)
        except Exception:  # a picture without words is a picture all the same
            log.exception("could not present a picture", job=outcome.job.id)
            return outcome
        return replace(outcome, result=replace(outcome.result, presentation=words))

    # --- ledger ---

    def _commit_forever(self) -> None:
        open_ = True
        while open_:
            outcomes, open_ = self._take()
            self._threads.working()
            if outcomes:
                self._commit(outcomes)
            self._threads.idle()

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
        changes: list[Change] = []
        try:
            changes = self._write(outcomes)
        finally:
            for outcome in outcomes:
                self._ended(outcome.job)
                outcome.job.settle()
        done = {change.id: change.state.value for change in changes}
        if done:
            log.info("ended here", jobs=done)
        discarded = [each.job.id for each in outcomes if each.result is not None and each.job.id not in done]
        if discarded:
            log.info("results discarded: canceled, or another attempt's", jobs=discarded)
        self._hints.changed(changes)

    def _write(self, outcomes: Sequence[Outcome]) -> list[Change]:
        """Write all, again while the database is away: each is fenced, so late is never wrong. Where one is refused,
        each alone; what cannot be written alone either is left to its lease.
        """
        last_tries = LAST_TRIES
        while last_tries:
            try:
                return self._write_once(outcomes)
            except DATABASE_AWAY as error:
                log.warning("database away, trying again", jobs=len(outcomes), error=describe(error))
                self._threads.working()  # waiting for the database is no stall
                last_tries -= self._closing.is_set()
                time.sleep(RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001 - the lease will run out, and the job will be tried again
                if len(outcomes) == 1:
                    log.error("could not commit", job=outcomes[0].job.id, error=describe(error))
                    return []
                return [change for outcome in outcomes for change in self._write([outcome])]
        log.warning("results given up with the worker", jobs=[each.job.id for each in outcomes])
        return []

    def _write_once(self, outcomes: Sequence[Outcome]) -> list[Change]:
        results = [outcome.result for outcome in outcomes if outcome.result is not None]
        returned = [each.job.key for each in outcomes if each.result is None and not each.charged]
        lost = [each.job.key for each in outcomes if each.result is None and each.charged]
        with self._database.write() as session:
            changes = ledger.finish(session, [result for result in results if result.error is None])
            failures = [ledger.fail(session, result) for result in results if result.error is not None]
            changes += ledger.hand_back(session, returned, "worker cannot do it now") if returned else []
            if lost:
                ledger.forfeit(session, lost)
        return changes + [change for change in failures if change is not None]
