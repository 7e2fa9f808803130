"""The engine's thread: admit what waits, take one step for one group, release what is done. It owns the models."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from limner_shared.db.ledger import AttemptKey
from limner_shared.errors import LimnerError
from limner_shared.telemetry import get_logger
from limner_shared.threads import Supervisor
from limner_worker.engine.batch_sizing import Budget
from limner_worker.engine.failure_reasons import failure_of
from limner_worker.engine.fault_isolation import LOGGED_CHARS, Guard
from limner_worker.engine.job_run import JobRun, Row
from limner_worker.engine.listener import EngineListener
from limner_worker.engine.pending_models import PendingModels
from limner_worker.engine.scheduler import Scheduler
from limner_worker.generators import device_faults
from limner_worker.generators.base import Decoding, Generator, padded_size
from limner_worker.generators.model_cache import ModelCache

log = get_logger(__name__)

PREVIEW_SECONDS = 0.7
"""A job that somebody watches is shown so often."""


class Engine:
    """One thread, one device, any number of models. Other threads only put jobs in and ask for some to be dropped.

    What fails for one row fails that row. Whatever else is raised ends the thread, and with it the process.
    """

    def __init__(
        self,
        models: ModelCache,
        outcomes: EngineListener,
        threads: Supervisor,
        checkpoint_seconds: float = float("inf"),
    ) -> None:
        """`checkpoint_seconds`: how often a long job's state is kept."""
        self._models = models
        self.outcomes = outcomes
        self._threads = threads
        self._waiting = PendingModels()
        self._checkpoint_seconds = checkpoint_seconds
        self._budget = Budget()
        self._scheduler: Scheduler[Row] = Scheduler(self._sizes)
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._jobs: dict[AttemptKey, JobRun] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._guard = Guard(self._budget, self._padded, self._blame)
        self._beside: deque[tuple[Sequence[Row], Decoding]] = deque()

    def start(self) -> None:
        """Begin to work."""
        self._thread = self._threads.start("engine", self._run)

    def submit(self, jobs: Sequence[JobRun]) -> None:
        """Take jobs in; they are started together, so that their texts are encoded in one batch."""
        self._calls.put(lambda: self._admit(jobs))

    def drop(self, jobs: Collection[JobRun]) -> None:
        """Forget jobs at the next step: canceled, or no longer this worker's."""
        self._calls.put(lambda: self._drop(jobs))

    def stuck(self, seconds: float) -> set[AttemptKey] | None:
        """The attempts in a model's call that has lasted longer than this; None if there is none. For any thread."""
        return self._guard.stuck(seconds)

    @property
    def suspects(self) -> set[AttemptKey]:
        """Once the thread has failed: the attempts whose call it was in, or all, if it was in none."""
        return self._guard.suspects or set(self._jobs)

    def stop(self) -> None:
        """End the thread after the step in progress; what is in hand stays undone."""
        self._stopping.set()
        self._calls.put(lambda: None)
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            idle = not len(self._scheduler) and not len(self._waiting) and not self._beside
            self._take_calls(wait=idle)
            if not self._stopping.is_set():
                self._turn()

    def _turn(self) -> None:
        self._collect(wait=False)
        self._begin_waiting()
        batch = self._scheduler.next_batch()
        if batch and batch[0].state.finished:
            self._decode(batch)
        elif batch:
            self._step(batch)
        else:
            self._collect(wait=True)

    def _take_calls(self, *, wait: bool) -> None:
        try:
            self._calls.get(block=wait)()
            while True:
                self._calls.get_nowait()()
        except Empty:
            return

    # --- admit ---

    def _admit(self, jobs: Sequence[JobRun]) -> None:
        for job in jobs:
            model = job.claim.spec.model
            if job.closed:
                continue
            if model in self._models.cards:
                self._jobs[job.key] = job
                self._waiting.add(model, job, time.monotonic())
            else:
                job.closed = True
                self.outcomes.unavailable([job], "this worker does not serve the model")

    def _begin_waiting(self) -> None:
        """Start the jobs whose models are loaded, or can be: the model that is waited for longest goes first."""
        for model in self._waiting.models(time.monotonic()):
            try:
                brought = self._models.ensure_loaded(model, self._busy())
            except Exception as error:  # a device may be full, a file gone; the other models go on
                if device_faults.is_device_broken(error):
                    raise
                log.exception("model does not load", model=model)
                self._give_up(self._waiting.take(model), "the model does not load")
                continue
            if brought:
                jobs = [job for job in self._waiting.take(model) if not job.closed]
                self._begin(self._models.get(model), [row for job in jobs for row in job.rows])

    def _give_up(self, jobs: Sequence[JobRun], reason: str) -> None:
        left = [job for job in jobs if not job.closed]
        for job in left:
            self._close(job)
        if left:
            self.outcomes.unavailable(left, reason)

    def _busy(self) -> set[str]:
        decoding = (row for rows, _ in self._beside for row in rows)
        return {row.job.claim.spec.model for row in (*self._scheduler, *decoding)}

    def _begin(self, generator: Generator, rows: Sequence[Row]) -> None:
        def start(some: Sequence[Row]) -> None:
            for row, state in zip(some, generator.start([row.task for row in some]), strict=True):
                row.state = state
                row.task.checkpoint = None  # read by now
                row.checkpointed = time.monotonic()

        def start_afresh(some: Sequence[Row]) -> None:
            """What an earlier attempt left is a help only: an image is drawn without it if it cannot be read."""
            try:
                start(some)
            except Exception as error:
                if len(some) > 1 or some[0].task.checkpoint is None or device_faults.is_device_broken(error):
                    raise
                log.warning("cannot go on from a checkpoint", job=some[0].job.id, error=repr(error)[:200])
                some[0].begin_again()
                start(some)

        self._guard.run(start_afresh, rows)
        self._settle(rows)

    # --- step and decode: each is one turn of the loop, so that who comes first waits for one of them at most ---

    def _step(self, batch: Sequence[Row]) -> None:
        generator = self._generator_of(batch[0])

        def step(rows: Sequence[Row]) -> None:
            started = time.perf_counter()
            generator.step([row.state for row in rows])
            self._measured(rows, time.perf_counter() - started)

        self._guard.run(step, batch)
        self._settle(batch)
        for job in {row.job.key: row.job for row in batch if not row.job.closed}.values():
            self.outcomes.progressed(job)

    def _settle(self, rows: Sequence[Row]) -> None:
        """After a call: fail what cannot go on, file the others by what each needs next, and keep what took long."""
        now = time.monotonic()
        for row in rows:
            if row.job.closed:
                continue
            try:
                error = row.state.error
                if error is None:
                    self._file(row, now)
                    continue
            except Exception as unexpected:  # noqa: BLE001 - a pipeline's state may raise anything when it is asked
                error = unexpected
            self._blame(row, error)
        self._scheduler.refile(rows)

    def _file(self, row: Row, now: float) -> None:
        row.steps_done = row.state.steps_done
        new = row.key is None
        row.key = row.job.claim.spec.model, row.state.key, row.state.finished
        if new:
            self._scheduler.add(row, row.job.claim.lane)
        if row.job.watched and row.index == 0 and not new and now - row.previewed >= PREVIEW_SECONDS:
            self._preview(row, now)
        if not row.state.finished and now - row.checkpointed >= self._checkpoint_seconds:
            self._keep(row, now)

    def _preview(self, row: Row, now: float) -> None:
        row.previewed = now
        try:
            picture = self._generator_of(row).preview(row.state)
        except Exception as error:  # noqa: BLE001 - the picture itself may come out well
            log.warning("no preview", job=row.job.id, error=repr(error)[:200])
            return
        if picture is not None:
            self.outcomes.previewed(row.job, picture)

    def _keep(self, row: Row, now: float) -> None:
        row.checkpointed = now
        try:
            checkpoint = row.state.checkpoint()
        except Exception as error:  # noqa: BLE001 - a scheduler may remember what cannot be written; it is a help only
            log.warning("no checkpoint", job=row.job.id, error=repr(error)[:200])
            return
        if checkpoint is not None:
            self.outcomes.half_made(row.job, row.index, checkpoint)

    def _decode(self, batch: Sequence[Row]) -> None:
        """Begin it; a device that has a stream for decodes takes the next steps meanwhile. One at a time."""
        self._scheduler.remove(batch)
        generator = self._generator_of(batch[0])

        def begin(rows: Sequence[Row]) -> None:
            self._beside.append((rows, generator.decode([row.state for row in rows])))

        self._collect(wait=True)
        self._guard.run(begin, [row for row in batch if not row.job.closed], before=lambda: self._collect(wait=True))

    def _collect(self, *, wait: bool) -> None:
        """Take over what is decoded by now, or all, when nothing is left to do but to wait."""
        while self._beside and (wait or self._beside[0][1].done()):
            self._decoded(*self._beside.popleft())

    def _decoded(self, batch: Sequence[Row], decoding: Decoding) -> None:
        """Each job whose last picture this was has ended; what went wrong together is decoded again in parts."""
        generator = self._generator_of(batch[0])

        def draw(rows: Sequence[Row]) -> None:
            now = decoding if len(rows) == len(batch) else generator.decode([row.state for row in rows])
            for row, picture in zip(rows, now.pictures(), strict=True):
                row.picture = picture
            self._measured(rows, now.seconds)

        self._guard.run(draw, batch)
        for row in batch:
            row.release()
        touched = {row.job.key: row.job for row in batch if not row.job.closed}
        done = [job for job in touched.values() if all(row.picture is not None for row in job.rows)]
        for job in done:
            self._close(job)
        if done:
            self.outcomes.generated(done)

    # --- sizes ---

    def _sizes(self, key: Any) -> Sequence[int]:
        model, *_ = key
        return self._budget.allowed(key, self._models.cards[model].buckets)

    def _measured(self, rows: Sequence[Row], seconds: float) -> None:
        if rows[0].task.replay is None:
            buckets = self._generator_of(rows[0]).card.buckets
            self._budget.took(rows[0].key, self._padded(rows), seconds, buckets)

    # --- release ---

    def _padded(self, rows: Sequence[Row]) -> int:
        return padded_size([row.task for row in rows], self._generator_of(rows[0]).card.buckets)

    def _blame(self, row: Row, error: Exception) -> None:
        log.warning("generation failed", job=row.job.id, error=repr(error)[:LOGGED_CHARS])
        self._fail(row.job, failure_of(error, row.task.spec))

    def _fail(self, job: JobRun, error: LimnerError) -> None:
        if not job.closed:
            self._close(job)
            self.outcomes.failed(job, error)

    def _drop(self, jobs: Collection[JobRun]) -> None:
        for job in jobs:
            self._close(job)

    def _close(self, job: JobRun) -> None:
        """Nothing more is done for a job; rows in a decode that is in progress let go when it ends."""
        job.closed = True
        self._scheduler.remove(job.rows)
        self._jobs.pop(job.key, None)
        decoding = {id(row) for rows, _ in self._beside for row in rows}
        for row in job.rows:
            if id(row) not in decoding:
                row.release()

    def _generator_of(self, row: Row) -> Generator:
        return self._models.get(row.job.claim.spec.model)
