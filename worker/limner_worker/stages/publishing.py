"""From pixels to finished jobs: pictures, presentation, ledger, acknowledgement, hints; beside the device's work."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any, Final, Protocol

from limner_shared import metrics, tracing
from limner_shared.circuit_breaker import Breaker
from limner_shared.db import ledger
from limner_shared.db.engine import DATABASE_AWAY, Database, describe
from limner_shared.db.ledger import Change, NewImage, Result
from limner_shared.domain.jobs import JobSpec
from limner_shared.domain.recognitions import Recognition
from limner_shared.domain.replay import DRAWN_AS, READ_CHARS, RECOGNITION, SCENE
from limner_shared.domain.scenes import Scene
from limner_shared.errors import LimnerError
from limner_shared.messaging.hints import Hints
from limner_shared.storage.blobs import Blobs
from limner_shared.telemetry import get_logger, job_ids, log_context
from limner_shared.threads import Supervisor
from limner_worker.engine.attempt_trace import stage_of
from limner_worker.engine.job_run import JobRun
from limner_worker.stages.picture_files import PictureEncoder
from limner_worker.stages.storing import Outcome, PictureStorage

log = get_logger(__name__)

STORED_AT_ONCE: Final = 16
"""Jobs whose pictures one thread encodes and stores as one group."""
MOST_AT_ONCE: Final = 64
"""The same while a slow disk keeps many waiting: it syncs a large group in nearly the time of a small one."""
STORING_THREADS: Final = 4
"""They mostly wait for the disk, whose file system syncs the files of several threads together."""
PRESENTED_AT_ONCE: Final = 16
"""Threads that wait for presentations."""
COMMITTED_AT_ONCE: Final = 200
"""Jobs whose results share a transaction: one commit costs about as much as the rows of a dozen jobs."""
GATHER_SECONDS: Final = 0.02
"""While further pictures are being stored, a commit waits this long for them, so that they share it."""
RETRY_SECONDS: Final = 0.5
LAST_TRIES: Final = 10
"""Commit attempts of a stopping worker while the database is away."""
UNIT_SECONDS: Final = 600.0
"""One batch of commits that lasts longer is stalled, unless the database is away."""


class ResultPresenter(Protocol):
    """Writes the presentation of a finished job."""

    def asks(self, spec: JobSpec) -> bool:
        """Whether a call for this spec may take long."""
        ...

    def __call__(
        self,
        spec: JobSpec,
        drawn_as: str | None,
        scene: Scene | None,
        recognitions: Sequence[Recognition | None],
        read_chars: int | None,
    ) -> str | None:
        """Return the presentation, or None. All but `recognitions` are of the first picture's receipt."""
        ...


class Publisher:
    """A few threads store pictures; one thread commits all outcomes that are ready together, and acknowledges them.

    Presentations by a language model are awaited on further threads, so that no other job waits for them. Temporary
    faults (a full disk, a store or database that is away) are retried while the worker accepts no new jobs. The queues
    are bounded, because each job still holds its slot in the worker's admission.
    """

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        hints: Hints,
        supervisor: Supervisor,
        store_breaker: Breaker,
        clean_up: Callable[[JobRun], None],
        delete_checkpoints: Callable[[JobRun], None],
        present: ResultPresenter,
        encoder: PictureEncoder,
    ) -> None:
        """`store_breaker` is the picture store's circuit breaker.

        `clean_up` is called for each attempt whose outcome is committed or given up, before its acknowledgement.
        `delete_checkpoints` is called before that for each attempt whose result is committed: after any other outcome
        the next attempt, which may have begun, continues from them.
        """
        self._present = present
        self._database = database
        self._hints = hints
        self._supervisor = supervisor
        self._clean_up = clean_up
        self._delete_checkpoints = delete_checkpoints
        self._closing = threading.Event()
        self._pictures = PictureStorage(blobs, store_breaker, self._closing, encoder)
        self._storing = supervisor.pool("publish", STORING_THREADS)
        self._presenting = supervisor.pool("present", PRESENTED_AT_ONCE)
        self._ready: SimpleQueue[list[Outcome] | None] = SimpleQueue()
        self._waiting: deque[tuple[JobRun, dict[str, Any]]] = deque()
        """Jobs whose pictures are to be stored, each with the fingerprint of its model."""
        self._tasks = 0
        """Tasks that store pictures, those included that have not begun."""
        self._tasks_lock = threading.Lock()
        self._committer = supervisor.start("commit", self._commit_forever, limit_seconds=UNIT_SECONDS)

    def publish(self, jobs: Sequence[JobRun], fingerprint: dict[str, Any]) -> None:
        """Store the jobs' pictures and finish the jobs, a few per task, so that all threads have work.

        A task takes its share of the jobs that wait when it begins; a later one may find none.
        """
        for job in jobs:
            job.generated_at = time.perf_counter()
            if job.trace is not None:
                job.trace.publishing()
        with self._tasks_lock:
            self._waiting += [(job, fingerprint) for job in jobs]
        for _ in range(0, len(jobs), STORED_AT_ONCE):
            self._count_tasks(1)
            self._storing.submit(self._store_next)

    def publish_stored(self, job: JobRun, images: Sequence[NewImage]) -> None:
        """Finish a job whose pictures are stored already."""
        self._present_all([Outcome(job, Result(job.id, job.claim.attempt, images))])

    def fail(self, job: JobRun, error: LimnerError) -> None:
        """Finish a job as failed with this error."""
        self._ready.put([Outcome(job, Result(job.id, job.claim.attempt, error=error))])

    def hand_back(self, jobs: Sequence[JobRun]) -> None:
        """Return jobs to the queue without a loss: this worker cannot run them now."""
        self._ready.put([Outcome(job, None, charged=False) for job in jobs])

    def close(self) -> None:
        """Wait until all submitted outcomes are committed, or given up because store or database is away."""
        self._closing.set()
        self._storing.close()
        self._presenting.close()
        self._ready.put(None)
        self._committer.join()

    # --- pictures ---

    def _store_next(self) -> None:
        started = tracing.clock()
        jobs = self._take_waiting()
        try:
            outcomes = self._pictures.store(jobs)
        finally:
            stage_of([job.trace for job, _ in jobs], "store", started, {"limner.batch.jobs": len(jobs)})
            self._count_tasks(-1)  # before the outcomes are ready: the commit must not wait for this task
        self._present_all(outcomes)

    def _take_waiting(self) -> list[tuple[JobRun, dict[str, Any]]]:
        with self._tasks_lock:
            share = -(-len(self._waiting) // STORING_THREADS)
            count = min(len(self._waiting), MOST_AT_ONCE, max(STORED_AT_ONCE, share))
            return [self._waiting.popleft() for _ in range(count)]

    def _count_tasks(self, change: int) -> None:
        with self._tasks_lock:
            self._tasks += change

    def _present_all(self, outcomes: Sequence[Outcome]) -> None:
        slow, ready = list[Outcome](), list[Outcome]()
        for outcome in outcomes:
            stored = outcome.result is not None and outcome.result.error is None
            (slow if stored and self._present.asks(outcome.job.claim.spec) else ready).append(outcome)
        if ready:
            self._ready.put([self._presented(outcome) for outcome in ready])
        for outcome in slow:
            self._presenting.submit(self._present_one, outcome)

    def _present_one(self, outcome: Outcome) -> None:
        self._ready.put([self._presented(outcome)])

    def _presented(self, outcome: Outcome) -> Outcome:
        if outcome.result is None or outcome.result.error is not None:
            return outcome
        try:
            receipts = [image.receipt for image in outcome.result.images]
            seen = [Recognition.read(each.get(RECOGNITION)) for each in receipts]
            drawn_as, scene, read_chars = map(receipts[0].get, (DRAWN_AS, SCENE, READ_CHARS))
            with log_context(job=outcome.job.id):
                presentation = self._present(outcome.job.claim.spec, drawn_as, Scene.read(scene), seen, read_chars)
        except Exception:  # the picture is valid without a presentation
            log.exception("could not present a picture", job=outcome.job.id)
            return outcome
        return replace(outcome, result=replace(outcome.result, presentation=presentation))

    # --- ledger ---

    def _commit_forever(self) -> None:
        open_ = True
        while open_:
            outcomes, open_ = self._take()
            self._supervisor.working()
            if outcomes:
                self._commit(outcomes)
            self._supervisor.idle()

    def _take(self) -> tuple[list[Outcome], bool]:
        """Wait for outcomes; return those that are ready or will be in a moment, and whether more may follow."""
        some = self._ready.get()
        taken: list[Outcome] = []
        deadline = time.monotonic() + GATHER_SECONDS
        try:
            while some is not None:
                taken += some
                if len(taken) >= COMMITTED_AT_ONCE:
                    break
                left = deadline - time.monotonic()
                some = self._ready.get(timeout=left) if self._tasks and left > 0 else self._ready.get_nowait()
        except Empty:
            pass
        return taken, some is not None

    def _commit(self, outcomes: list[Outcome]) -> None:
        changes: list[Change] = []
        started = tracing.clock()
        try:
            changes = self._write(outcomes)
        finally:
            done = {change.id: change.state.value for change in changes}
            for outcome in outcomes:
                if outcome.result is not None and outcome.job.id in done:
                    self._delete_checkpoints(outcome.job)
                self._clean_up(outcome.job)
                outcome.job.acknowledge()
                outcome.job.forget_pictures()
        _measure(outcomes, done)
        if done:
            log.info("jobs finished", jobs=done)
        if discarded := [each.job.id for each in outcomes if each.result is not None and each.job.id not in done]:
            log.info("results discarded: canceled or no longer the current attempt", jobs=job_ids(discarded))
        _end_traces(outcomes, done, started)
        self._hints.changed(changes)

    def _write(self, outcomes: Sequence[Outcome]) -> list[Change]:
        """Commit all outcomes together, and retry while the database is away: fences make a late write harmless.

        After any other exception each outcome is committed by itself; one that fails again is left to its lease.
        """
        last_tries = LAST_TRIES
        while last_tries:
            try:
                return self._write_once(outcomes)
            except DATABASE_AWAY as error:
                log.warning("database away, retrying", jobs=_ids(outcomes), error=describe(error))
                self._supervisor.working()  # waiting for the database is not a stall
                last_tries -= self._closing.is_set()
                time.sleep(RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001 - the lease runs out, and the job is tried again
                if len(outcomes) == 1:
                    log.error("could not commit", job=outcomes[0].job.id, error=describe(error))
                    return []
                return [change for outcome in outcomes for change in self._write([outcome])]
        log.warning("results given up: stopping while the database is away", jobs=_ids(outcomes))
        return []

    def _write_once(self, outcomes: Sequence[Outcome]) -> list[Change]:
        results = [outcome.result for outcome in outcomes if outcome.result is not None]
        returned = [each.job.key for each in outcomes if each.result is None and not each.charged]
        lost = [each.job.key for each in outcomes if each.result is None and each.charged]
        with self._database.write() as session:
            return ledger.settle(session, results, returned, lost)


def _ids(outcomes: Sequence[Outcome]) -> list[str]:
    return job_ids(outcome.job.id for outcome in outcomes)


def _end_traces(outcomes: Sequence[Outcome], committed: Mapping[str, str], started: int) -> None:
    """End the attempts' traces; `committed` holds the states of the jobs that were changed by the commit, which began
    at `started`.
    """
    for outcome in outcomes:
        trace, error = outcome.job.trace, None if outcome.result is None else outcome.result.error
        if trace is not None:
            trace.stage("commit", started, {"limner.batch.jobs": len(outcomes)})
            trace.ended(committed.get(outcome.job.id, "discarded"), None if error is None else error.code)


def _measure(outcomes: Sequence[Outcome], committed: Collection[str]) -> None:
    now = time.perf_counter()
    metrics.PUBLISH_SECONDS.observe_each(
        (now - job.generated_at, (job.claim.spec.model,))
        for job in (outcome.job for outcome in outcomes if outcome.job.id in committed)
        if job.generated_at is not None
    )
