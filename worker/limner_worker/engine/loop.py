"""The engine's thread: admit what waits, take one step for one group, release what is done. It owns the models."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from limner_shared.errors import GenerationFailed, LimnerError, ModelUnavailable, OutOfMemory
from limner_shared.telemetry import get_logger
from limner_worker.engine.budget import Budget
from limner_worker.engine.outcomes import Outcomes
from limner_worker.engine.request import JobRun, Row
from limner_worker.engine.scheduler import Scheduler
from limner_worker.engine.waiting import Waiting
from limner_worker.generators import memory
from limner_worker.generators.base import Decoding, Generator, padded_size
from limner_worker.generators.residents import Residents

log = get_logger(__name__)

PREVIEW_SECONDS = 0.7
"""A job that somebody watches is shown so often."""

Action = Callable[[Sequence[Row]], None]


class Engine:
    """One thread, one device, any number of models. Other threads only put jobs in and ask for some to be dropped."""

    def __init__(self, models: Residents, outcomes: Outcomes, checkpoint_seconds: float = float("inf")) -> None:
        """`checkpoint_seconds`: how often a long job's state is kept."""
        self._models = models
        self.outcomes = outcomes
        self._waiting = Waiting()
        self._checkpoint_seconds = checkpoint_seconds
        self._budget = Budget()
        self._scheduler: Scheduler[Row] = Scheduler(self._sizes)
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._jobs: dict[str, JobRun] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._broken = False
        self._at_work: tuple[float, Sequence[Row]] | None = None
        self._beside: deque[tuple[Sequence[Row], Decoding]] = deque()

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def submit(self, jobs: Sequence[JobRun]) -> None:
        """Take jobs in; they are started together, so that their texts are encoded in one batch."""
        self._calls.put(lambda: self._admit(jobs))

    def drop(self, job_ids: set[str]) -> None:
        """Forget jobs at the next step: canceled, or no longer ours."""
        self._calls.put(lambda: self._drop(job_ids))

    def stuck(self, seconds: float) -> set[str] | None:
        """The jobs of a model's call that has lasted longer than this, or of an engine that a fault of ours has ended;
        None if all is well. For any thread.
        """
        if self._broken:
            return set(self._jobs)
        at_work = self._at_work
        if at_work is None or time.monotonic() - at_work[0] < seconds:
            return None
        return {row.job.id for row in at_work[1]}

    def stop(self) -> None:
        """End the thread after the step in progress; what is in hand stays undone."""
        self._stopping.set()
        self._calls.put(lambda: None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                idle = not len(self._scheduler) and not len(self._waiting) and not self._beside
                self._take_calls(wait=idle)
                if not self._stopping.is_set():
                    self._turn()
        except Exception:
            log.exception("the engine is broken")
            self._broken = True

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
            if model in self._models.cards:
                self._jobs[job.id] = job
                self._waiting.add(model, job, time.monotonic())
            else:
                self._fail(job, ModelUnavailable(f"This worker does not serve the model {model!r}."))

    def _begin_waiting(self) -> None:
        """Start the jobs whose models are loaded, or can be: the model that is waited for longest goes first."""
        for model in self._waiting.models(time.monotonic()):
            try:
                brought = self._models.bring(model, self._busy())
            except Exception as error:  # noqa: BLE001 - a device may be full, a file gone; the other models go on
                reason = (
                    error if isinstance(error, LimnerError) else ModelUnavailable(f"{model} does not load: {error}")
                )
                for job in self._waiting.take(model):
                    self._fail(job, reason)
                continue
            if not brought:
                continue
            generator = self._models.get(model)
            rows = [row for job in self._waiting.take(model) if not job.closed for row in job.rows]
            self._guard(lambda rows, g=generator: self._start(g, rows), rows)
            self._settle(rows)

    def _busy(self) -> set[str]:
        decoding = (row for rows, _ in self._beside for row in rows)
        return {row.job.claim.spec.model for row in (*self._scheduler, *decoding)}

    def _start(self, generator: Generator, rows: Sequence[Row]) -> None:
        for row, state in zip(rows, generator.start([row.task for row in rows]), strict=True):
            row.state = state
            row.task.checkpoint = None  # read by now
            row.checkpointed = time.monotonic()

    # --- step and decode: each is one turn of the loop, so that who comes first waits for one of them at most ---

    def _step(self, batch: Sequence[Row]) -> None:
        generator = self._generator_of(batch[0])

        def step(rows: Sequence[Row]) -> None:
            started = time.perf_counter()
            generator.step([row.state for row in rows])
            self._measured(rows, time.perf_counter() - started)

        self._guard(step, batch)
        self._settle(batch)
        for job in {row.job.id: row.job for row in batch if not row.job.closed}.values():
            self.outcomes.progressed(job)

    def _settle(self, rows: Sequence[Row]) -> None:
        """After a call: fail what cannot go on, file the others by what each needs next, and keep what took long."""
        now = time.monotonic()
        for row in rows:
            if row.job.closed:
                continue
            if row.state.error is not None:
                self._blame(row, row.state.error)
                continue
            row.steps_done = row.state.steps_done
            new = row.key is None
            row.key = row.job.claim.spec.model, row.state.key, row.state.finished
            if new:
                self._scheduler.add(row, row.job.claim.lane)
            if row.job.watched and row.index == 0 and not new and now - row.previewed >= PREVIEW_SECONDS:
                self._preview(row, now)
            if not row.state.finished and now - row.checkpointed >= self._checkpoint_seconds:
                self._keep(row, now)
        self._scheduler.refile(rows)

    def _preview(self, row: Row, now: float) -> None:
        row.previewed = now
        try:
            picture = self._generator_of(row).preview(row.state)
        except Exception as error:  # noqa: BLE001 - the picture itself may come out well
            log.warning("no preview", job=row.job.id, error=repr(error))
            return
        if picture is not None:
            self.outcomes.previewed(row.job, picture)

    def _keep(self, row: Row, now: float) -> None:
        row.checkpointed = now
        try:
            checkpoint = row.state.checkpoint()
        except Exception as error:  # noqa: BLE001 - a scheduler may remember what cannot be written; it is a help only
            log.warning("cannot be kept half made", job=row.job.id, error=repr(error))
            return
        if checkpoint is not None:
            self.outcomes.half_made(row.job, row.index, checkpoint)

    def _decode(self, batch: Sequence[Row]) -> None:
        """Begin it; a device that has a stream for decodes takes the next steps meanwhile. One at a time."""
        self._collect(wait=True)
        self._scheduler.remove(batch)
        generator = self._generator_of(batch[0])
        self._guard(
            lambda rows: self._beside.append((rows, generator.decode([row.state for row in rows]))),
            batch,
        )

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
                row.state = None
            self._measured(rows, now.seconds)

        self._guard(draw, batch)
        touched = {row.job.id: row.job for row in batch if not row.job.closed}
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

    def _guard(self, action: Action, rows: Sequence[Row]) -> None:
        """Run an action on rows together; if that raises, on fewer, so that only the one at fault fails."""
        error = self._attempt(action, rows)
        if error is None:
            return
        if memory.is_out_of_memory(error):
            memory.release()
            if rows[0].key is not None:
                self._budget.ran_out(rows[0].key, self._padded(rows))
            log.warning("out of memory", rows=len(rows), model=rows[0].job.claim.spec.model)
        if len(rows) == 1:
            self._blame(rows[0], error)
            return
        middle = len(rows) // 2
        for some in (rows[:middle], rows[middle:]):
            self._guard(action, [row for row in some if not row.job.closed])

    def _attempt(self, action: Action, rows: Sequence[Row]) -> Exception | None:
        """What the action raised, without the traceback, which would keep a failed call's tensors alive."""
        if not rows:
            return None
        self._at_work = time.monotonic(), rows
        try:
            action(rows)
        except Exception as error:  # noqa: BLE001 - a model may raise anything, and the others' rows go on
            return error.with_traceback(None)
        finally:
            self._at_work = None
        return None

    def _padded(self, rows: Sequence[Row]) -> int:
        return padded_size([row.task for row in rows], self._generator_of(rows[0]).card.buckets)

    def _blame(self, row: Row, error: Exception) -> None:
        log.warning("generation failed", job=row.job.id, error=repr(error))
        if memory.is_out_of_memory(error):
            spec = row.task.spec
            reason: LimnerError = OutOfMemory(
                f"A picture of {spec.width}×{spec.height} does not fit into the device's memory"
                f"{' at the fixed batch size that `reproducible` means' if spec.reproducible else ', even alone'}: "
                f"ask for a smaller size{' or without `reproducible`' if spec.reproducible else ''}."
            )
        else:
            reason = error if isinstance(error, LimnerError) else GenerationFailed(f"The model failed: {error}")
        self._fail(row.job, reason)

    def _fail(self, job: JobRun, error: LimnerError) -> None:
        if not job.closed:
            self._close(job)
            self.outcomes.failed(job, error)

    def _drop(self, job_ids: set[str]) -> None:
        for job_id in job_ids & self._jobs.keys():
            self._close(self._jobs[job_id])

    def _close(self, job: JobRun) -> None:
        job.closed = True
        self._scheduler.remove(job.rows)
        self._jobs.pop(job.id, None)

    def _generator_of(self, row: Row) -> Generator:
        return self._models.get(row.job.claim.spec.model)
