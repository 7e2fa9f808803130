"""The engine's thread: start waiting jobs, run one step for one batch, finish decodes. It owns the models."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from functools import partial

from limner_shared.db.ledger import AttemptKey
from limner_shared.telemetry import get_logger
from limner_shared.threads import Supervisor
from limner_worker.engine import measuring
from limner_worker.engine.commands import Commands
from limner_worker.engine.failure_reasons import failure_reason
from limner_worker.engine.fault_isolation import LOGGED_CHARS, FaultIsolator
from limner_worker.engine.job_run import JobRun, Row, forget_decode, note_calls
from limner_worker.engine.listener import EngineListener
from limner_worker.engine.memory_waits import MemoryWaits
from limner_worker.engine.model_sizes import ModelSizes
from limner_worker.engine.pending_models import PendingModels
from limner_worker.engine.snapshots import Snapshots
from limner_worker.engine.starting import start
from limner_worker.generators import device_faults
from limner_worker.generators.base import Decoding, Generator
from limner_worker.generators.model_cache import ModelCache

log = get_logger(__name__)


class Engine:
    """One thread, one device, any number of models. Other threads only submit jobs and abort them.

    An exception that concerns one row fails that row's job. Any other exception ends the thread and with it the
    process.
    """

    def __init__(
        self,
        models: ModelCache,
        listener: EngineListener,
        supervisor: Supervisor,
        checkpoint_seconds: float = float("inf"),
        limit_seconds: float = float("inf"),
    ) -> None:
        """`checkpoint_seconds` is the interval between two checkpoints of a row, and `limit_seconds` the longest one
        between two calls of models or loads.
        """
        self._models = models
        self.listener = listener
        self._supervisor = supervisor
        self._pending = PendingModels()
        self._waits = MemoryWaits()
        self._limit_seconds = limit_seconds
        self._sizes = ModelSizes(models)
        self._scheduler = self._sizes.scheduler()
        self._snapshots = Snapshots(listener, self._generator_of, checkpoint_seconds)
        self._isolator = FaultIsolator(self._sizes, self._fail_row, supervisor.working)
        self._commands = Commands(supervisor)
        self._jobs: dict[AttemptKey, JobRun] = {}
        self._decodes: deque[tuple[Sequence[Row], Decoding]] = deque()
        """Decodes in progress, in the order of their start."""
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = self._supervisor.start("engine", self._run, limit_seconds=self._limit_seconds)

    def submit(self, jobs: Sequence[JobRun]) -> None:
        """Accept jobs. As many as fill a batch are started together, so that their texts are encoded in batches."""
        self._commands.give(lambda: self._admit(jobs))

    def abort(self, jobs: Collection[JobRun]) -> None:
        """Stop work on these jobs before the next step, without a report to the listener."""
        self._commands.give(lambda: self._close(jobs))

    def suspend(self, jobs: Collection[JobRun]) -> None:
        """Stop work on these jobs before the next step, and return when their checkpoints are reported."""
        done = threading.Event()
        self._commands.give(lambda: self._suspend(jobs, done.set))
        done.wait()

    def stuck_attempts(self, seconds: float) -> set[AttemptKey] | None:
        """Return the attempts in a model's call that has lasted at least this long, or None. Safe from any thread."""
        return self._isolator.stuck_attempts(seconds)

    @property
    def suspects(self) -> set[AttemptKey]:
        """Once the thread has failed or stalled: the attempts in its current call, or all if it is in none."""
        return self._isolator.suspects or set(self._jobs)

    def stop(self) -> None:
        """End the thread after the step in progress; unfinished jobs are suspended."""
        self._stopping.set()
        self._commands.give(lambda: None)
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._commands.run(wait=not any(map(len, (self._scheduler, self._pending, self._waits, self._decodes))))
            if not self._stopping.is_set():
                self._run_turn()
        self._suspend(list(self._jobs.values()))

    def _run_turn(self) -> None:
        """Start what can be started, then run one step or begin one decode: new jobs wait for one of them at most."""
        self._supervisor.working()
        self._finish_decodes(wait=False)
        self._start_pending()
        batch = self._scheduler.next_batch()
        if batch and batch[0].finished:
            self._begin_decode(batch)
        elif batch:
            self._step(batch)
        else:
            self._finish_decodes(wait=True)

    # --- start ---

    def _admit(self, jobs: Sequence[JobRun]) -> None:
        for job in jobs:
            model = job.claim.spec.model
            if job.closed:
                continue
            if model in self._models.cards:
                self._jobs[job.key] = job
                self._pending.add(model, job, time.monotonic())
            else:
                job.closed = True
                self.listener.unavailable([job], "this worker does not serve the model")

    def _start_pending(self) -> None:
        """Start an image that waited for memory, then the jobs of loaded models, the longest waiting first."""
        if self._waits and (waiting := self._waits.take(self._in_work())) is not None:
            self._start_rows(waiting.job.claim.spec.model, [waiting])
        for model in () if self._waits.are_long() else self._pending.startable(time.monotonic()):
            self._supervisor.working()
            try:
                loaded = self._models.ensure_loaded(model, self._busy_models())
            except Exception as error:  # the device may be full or a file missing; the other models go on
                if device_faults.is_device_broken(error):
                    raise
                log.exception("model does not load", model=model)
                self._reject(self._pending.take(model), "the model does not load")
                continue
            if loaded:
                most = max(self._models.cards[model].buckets)  # a step of others goes on before the next ones start
                jobs = self._pending.take_some(model, most, time.monotonic())
                self._start_rows(model, [row for job in jobs for row in job.rows])

    def _start_rows(self, model: str, rows: Sequence[Row]) -> None:
        with measuring.encoding(model, rows):
            self._isolator.run(partial(start, self._models.get(model)), rows)
        self._update_rows(rows)
        self._models.recount(model, self._busy_models())

    def _reject(self, jobs: Sequence[JobRun], reason: str) -> None:
        remaining = [job for job in jobs if not job.closed]
        self._close(remaining)
        if remaining:
            self.listener.unavailable(remaining, reason)

    def _busy_models(self) -> set[str]:
        decoding = (row for rows, _ in self._decodes for row in rows)
        return {row.job.claim.spec.model for row in (*self._scheduler, *decoding, *self._waits)}

    def _in_work(self) -> list[Row]:
        return [row for job in self._jobs.values() for row in job.rows if row.state is not None]

    # --- step ---

    def _step(self, batch: Sequence[Row]) -> None:
        generator = self._generator_of(batch[0])

        def step(rows: Sequence[Row]) -> None:
            started = time.perf_counter()
            generator.step([row.state for row in rows])
            seconds = time.perf_counter() - started
            measuring.record_step(rows, seconds)
            self._sizes.record_duration(rows, seconds)

        self._isolator.run(step, batch)
        self._update_rows(batch)
        for job in {row.job.key: row.job for row in batch if not row.job.closed}.values():
            self.listener.progressed(job)

    def _update_rows(self, rows: Sequence[Row]) -> None:
        """After a call: fail the rows with an error, and regroup the others by their new keys."""
        updated = [(row, self._update_row(row)) for row in rows if not row.job.closed and row.state is not None]
        in_work = self._in_work() if any(error for _, error in updated) else []
        for row, error in updated:
            if error is not None:
                self._isolator.note_out_of_memory(error, [row])
                self._fail_row(row, error, in_work)
        self._scheduler.regroup(rows)

    def _update_row(self, row: Row) -> Exception | None:
        """Return why the row fails; None if it goes on."""
        with self._isolator.watching([row]):
            try:
                error = row.state.error
                if error is None:
                    self._regroup_row(row, time.monotonic())
            except Exception as unexpected:  # noqa: BLE001 - a pipeline's state may raise anything when it is read
                return unexpected
            return error

    def _regroup_row(self, row: Row, now: float) -> None:
        if row.follow_state():
            self._scheduler.add(row, row.job.claim.lane)
        else:
            self._snapshots.preview_if_due(row, now)
        self._snapshots.checkpoint_if_due(row, now)

    # --- decode ---

    def _begin_decode(self, batch: Sequence[Row]) -> None:
        """Begin one decode; a device with a separate stream for decodes runs the next steps meanwhile."""
        self._scheduler.remove(batch)
        generator = self._generator_of(batch[0])

        def begin(rows: Sequence[Row]) -> None:
            self._decodes.append((rows, generator.decode([row.state for row in rows])))

        self._finish_decodes(wait=True)
        rows = [row for row in batch if not row.job.closed]
        note_calls(rows)
        with self._isolator.watching(rows):
            self._snapshots.keep(rows)
        self._isolator.run(begin, rows, before_retry=partial(self._finish_decodes, wait=True))

    def _finish_decodes(self, *, wait: bool) -> None:
        """Finish the decodes that are done, or, with `wait`, all of them."""
        while self._decodes and (wait or self._decodes[0][1].done()):
            self._finish_decode(*self._decodes.popleft())

    def _finish_decode(self, batch: Sequence[Row], decoding: Decoding) -> None:
        """Fetch what was drawn and report the jobs that are complete. If that fails, decode again in halves."""
        generator = self._generator_of(batch[0])

        def fetch(rows: Sequence[Row]) -> None:
            if len(rows) < len(batch):
                forget_decode(rows)
            current = decoding if len(rows) == len(batch) else generator.decode([row.state for row in rows])
            for row, drawn in zip(rows, current.drawn(), strict=True):
                row.drawn = drawn
            measuring.record_decode(rows, current.seconds)
            self._sizes.record_duration(rows, current.seconds)

        self._isolator.run(fetch, batch)
        self._release(batch)
        touched = {row.job.key: row.job for row in batch if not row.job.closed}
        generated = [job for job in touched.values() if all(row.drawn is not None for row in job.rows)]
        self._close(generated)
        if generated:
            self.listener.generated(generated)

    # --- end of a job ---

    def _fail_row(self, row: Row, error: Exception, in_work: Sequence[Row] = ()) -> None:
        """Fail a row's job, or put the row back if it ran out of memory beside others: by default those in work now."""
        if row.job.closed:
            return
        if device_faults.is_out_of_memory(error) and self._waits.accept(row, in_work or self._in_work()):
            self._scheduler.remove([row])
            self._release([row])
            return
        log.warning("generation failed", job=row.job.id, error=repr(error)[:LOGGED_CHARS])
        self._close([row.job])
        self.listener.failed(row.job, failure_reason(error, row.task.spec))

    def _suspend(self, jobs: Collection[JobRun], done: Callable[[], None] = lambda: None) -> None:
        self._finish_decodes(wait=True)
        for job in jobs:
            if not job.closed:
                with self._isolator.watching(job.rows):
                    self._snapshots.checkpoint(job)
                self._close([job])
        done()

    def _close(self, jobs: Collection[JobRun]) -> None:
        """Do no more work for jobs. Rows in a decode in progress release their state when it finishes."""
        decoding = {id(row) for rows, _ in self._decodes for row in rows}
        for job in jobs:
            job.closed = True
            self._scheduler.remove(job.rows)
            self._waits.remove(job.rows)
            self._jobs.pop(job.key, None)
            self._release([row for row in job.rows if id(row) not in decoding])

    def _release(self, rows: Sequence[Row]) -> None:
        for row in rows:
            with self._isolator.watching([row]):  # a pipeline's own code runs while it is unwound
                row.release()

    def _generator_of(self, row: Row) -> Generator:
        return self._models.get(row.job.claim.spec.model)
