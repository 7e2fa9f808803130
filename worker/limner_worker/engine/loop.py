"""The engine's thread: admit what waits, take one step for one group, release what is done. It owns the models."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from limner_shared.errors import GenerationFailed, LimnerError, ModelUnavailable
from limner_shared.telemetry import get_logger
from limner_worker.engine.request import JobRun, Row
from limner_worker.engine.scheduler import Scheduler
from limner_worker.generators.base import Generator

log = get_logger(__name__)

DECODE = "decode"
"""What the key of a row ends with once all its steps are done: such rows share a decode."""


class Outcomes(Protocol):
    """Who hears of what the engine did. Called on the engine's thread, so each returns at once."""

    def progressed(self, job: JobRun) -> None:
        """Some rows of the job took a step."""
        ...

    def generated(self, jobs: Sequence[JobRun]) -> None:
        """Every row of these jobs of one model has its picture."""
        ...

    def failed(self, job: JobRun, error: LimnerError) -> None:
        """The job cannot be done."""
        ...


class Engine:
    """One thread, one device, any number of models. Other threads only put jobs in and ask for some to be dropped."""

    def __init__(self, generators: Mapping[str, Generator], outcomes: Outcomes) -> None:
        self.generators = dict(generators)
        self.outcomes = outcomes
        self._scheduler: Scheduler[Row] = Scheduler(lambda key: self._generator_of(key).card.buckets)
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._jobs: dict[str, JobRun] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def submit(self, jobs: Sequence[JobRun]) -> None:
        """Take jobs in; they are started together, so that their texts are encoded in one batch."""
        self._calls.put(lambda: self._admit(jobs))

    def drop(self, job_ids: set[str]) -> None:
        """Forget jobs at the next step: canceled, or no longer ours."""
        self._calls.put(lambda: self._drop(job_ids))

    def stop(self) -> None:
        """End the thread after the step in progress; what is in hand stays undone."""
        self._stopping.set()
        self._calls.put(lambda: None)
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._take_calls(wait=not len(self._scheduler))
            if self._stopping.is_set():
                return
            batch = self._scheduler.next_batch()
            if batch and batch[0].finished:
                self._decode(batch)
            elif batch:
                self._step(batch)

    def _take_calls(self, *, wait: bool) -> None:
        try:
            self._calls.get(block=wait)()
            while True:
                self._calls.get_nowait()()
        except Empty:
            return

    # --- admit ---

    def _admit(self, jobs: Sequence[JobRun]) -> None:
        by_model: dict[str, list[JobRun]] = {}
        for job in jobs:
            by_model.setdefault(job.claim.spec.model, []).append(job)
        for model, group in by_model.items():
            generator = self.generators.get(model)
            if generator is None:
                for job in group:
                    self._fail(job, ModelUnavailable(f"This worker does not serve the model {model!r}."))
                continue
            for job in group:
                spec = job.claim.spec
                key = (model, generator.batch_key(spec))
                job.rows = [Row(job, index, key, spec.steps) for index in range(spec.n)]
                self._jobs[job.id] = job
            self._guard(lambda rows, g=generator: self._start(g, rows), [row for job in group for row in job.rows])

    def _start(self, generator: Generator, rows: Sequence[Row]) -> None:
        states = generator.start([(row.job.claim.spec, row.seed) for row in rows])
        for row, state in zip(rows, states, strict=True):
            row.state = state
            self._scheduler.add(row, row.job.claim.lane)

    # --- step and decode: each is one turn of the loop, so that who comes first waits for one of them at most ---

    def _step(self, batch: list[Row]) -> None:
        generator = self._generator_of(batch[0].key)
        self._guard(lambda rows: self._advance(generator, rows), batch)
        for row in batch:
            if row.finished and not row.job.closed:
                self._scheduler.remove([row])
                row.key = (*row.key, DECODE)
                self._scheduler.add(row, row.job.claim.lane)
        for job in {row.job.id: row.job for row in batch if not row.job.closed}.values():
            self.outcomes.progressed(job)

    def _advance(self, generator: Generator, rows: Sequence[Row]) -> None:
        bucket = generator.step([row.state for row in rows])
        for row in rows:
            row.steps_done = row.state.steps_done
            row.buckets.append(bucket)

    def _decode(self, batch: list[Row]) -> None:
        generator = self._generator_of(batch[0].key)
        self._guard(lambda rows: self._draw(generator, rows), batch)
        self._scheduler.remove(batch)
        touched = {row.job.id: row.job for row in batch if not row.job.closed}
        done = [job for job in touched.values() if all(row.picture is not None for row in job.rows)]
        for job in done:
            self._close(job)
        if done:
            self.outcomes.generated(done)

    def _draw(self, generator: Generator, rows: Sequence[Row]) -> None:
        for row, picture in zip(rows, generator.decode([row.state for row in rows]), strict=True):
            row.picture = picture
            row.state = None

    # --- release ---

    def _guard(self, action: Callable[[Sequence[Row]], None], rows: Sequence[Row]) -> None:
        """Run an action on rows together; if that raises, on each alone, so that only the one at fault fails."""
        if not rows:
            return
        try:
            action(rows)
        except Exception as error:  # noqa: BLE001 - a model may raise anything, and the others' rows go on
            if len(rows) > 1:
                for row in rows:
                    if not row.job.closed:
                        self._guard(action, [row])
                return
            log.warning("generation failed", job=rows[0].job.id, error=repr(error))
            reason = error if isinstance(error, LimnerError) else GenerationFailed(f"The model failed: {error}")
            self._fail(rows[0].job, reason)

    def _fail(self, job: JobRun, error: LimnerError) -> None:
        self._close(job)
        self.outcomes.failed(job, error)

    def _drop(self, job_ids: set[str]) -> None:
        for job_id in job_ids & self._jobs.keys():
            self._close(self._jobs[job_id])

    def _close(self, job: JobRun) -> None:
        job.closed = True
        self._scheduler.remove(job.rows)
        self._jobs.pop(job.id, None)

    def _generator_of(self, key: Any) -> Generator:
        return self.generators[key[0]]
