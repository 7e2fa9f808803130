"""Canceled and finished jobs leave no run, greenlet or tensor behind."""

from __future__ import annotations

import gc
import random
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from greenlet import greenlet
from tests.engine.pipeline_jobs import card_of, folder
from tests.engine.scripted import job as scripted_job
from tests.processes import eventually

from limner_shared.db.ledger import Claim
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, Lane
from limner_shared.messaging.hints import Hints
from limner_shared.settings import Settings
from limner_shared.threads import Supervisor
from limner_worker.engine.job_run import JobRun
from limner_worker.engine.listener import EngineListener
from limner_worker.engine.loop import Engine
from limner_worker.generators.base import ImageTask
from limner_worker.generators.model_cache import ModelCache
from limner_worker.generators.registry import load
from limner_worker.runtime.progress import ProgressReporter

__all__ = ["folder"]
JOBS, AT_ONCE = 1000, 8


class SilentHints:
    """Hints without a Redis, which this test does not need."""

    def changed(self, _changes: object) -> None: ...

    def progressed(self, _jobs: object) -> None: ...

    def jobs_with_preview_requests(self, _jobs: object) -> set[str]:
        return set()


class Canceling:
    """Cancels each job at a random step; a few jobs finish before theirs."""

    def __init__(self, reporter: ProgressReporter) -> None:
        self.reporter = reporter
        self.random = random.Random(7)
        self.engine: Engine | None = None
        self.last: dict[JobRun, int] = {}
        self.ended: Counter[str] = Counter()
        self.room = threading.Semaphore(AT_ONCE)

    def submit(self, job: JobRun) -> None:
        self.room.acquire()
        self.last[job] = self.random.randint(1, 5)
        self.reporter.add([job])
        assert self.engine is not None
        self.engine.submit([job])

    def progressed(self, job: JobRun) -> None:
        self.reporter.report_progress(job)
        if job.progress.done >= self.last.get(job, 99):
            assert self.engine is not None
            self.engine.abort([job])
            self._end(job, "canceled")
            self.reporter.report_progress(job)  # a report in progress when the job ends

    def generated(self, jobs: Sequence[JobRun]) -> None:
        for job in jobs:
            self._end(job, "generated")

    def failed(self, job: JobRun, error: Exception) -> None:
        raise AssertionError(error)

    def unavailable(self, jobs: Sequence[JobRun], reason: str) -> None:
        raise AssertionError(reason)

    def checkpointed(self, *_: Any) -> None: ...

    def previewed(self, *_: Any) -> None: ...

    def _end(self, job: JobRun, how: str) -> None:
        if self.last.pop(job, None) is not None:
            self.ended[how] += 1
            self.reporter.remove(job)
            self.room.release()


def alive() -> Counter[str]:
    gc.collect()
    kinds = {"run": JobRun, "greenlet": greenlet, "tensor": torch.Tensor}
    found: Counter[str] = Counter(dict.fromkeys(kinds, 0))
    for each in gc.get_objects():
        kind = cast("type[object]", type(each))
        found.update(name for name, wanted in kinds.items() if issubclass(kind, wanted))
    return found


def test_images_whose_texts_cannot_be_encoded_leave_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch):
    card = card_of("stable_diffusion", folder)
    generator = load(card, Settings(device="cpu", encoder_cache_bytes=0))
    spec = card.resolve(JobRequest(prompt="a hen", steps=4, seed=3))

    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setitem(cast("Any", generator)._functions, "text_encoder.forward", fail)

    def start(rounds: int) -> Counter[str]:
        for _ in range(rounds):
            with pytest.raises(torch.OutOfMemoryError):
                generator.start([ImageTask(spec, seed) for seed in range(4)])
        return alive()

    before = start(1)
    assert start(5) == before
    assert not cast("Any", generator)._folder.runs


def test_a_thread_that_waits_for_progress_keeps_no_job_that_has_ended(catalogue: Catalogue):
    threads, before = Supervisor(), alive()["run"]
    reporter = ProgressReporter(cast(Hints, SilentHints()), threads)
    reporter.start()

    def run() -> None:
        ended = scripted_job(catalogue, "ended")
        reporter.add([ended])
        reporter.report_progress(ended)
        eventually(lambda: not reporter._started and threads.activity()["progress"] is None)
        reporter.remove(ended)

    run()
    eventually(lambda: alive()["run"] == before, 10)
    reporter.stop()


@pytest.mark.long
def test_a_thousand_jobs_canceled_at_random_steps_leave_no_objects(folder: Path):
    card = card_of("stable_diffusion", folder)
    generator = load(card, Settings(device="cpu", encoder_cache_bytes=0))
    threads = Supervisor()
    reporter = ProgressReporter(cast(Hints, SilentHints()), threads)
    reporter.start()
    listener = Canceling(reporter)
    engine = Engine(ModelCache([card], lambda _card: generator), cast(EngineListener, listener), threads)
    listener.engine = engine
    engine.start()
    spec = card.resolve(JobRequest(prompt="a hen", steps=4, seed=3))

    def run(count: int) -> None:
        for number in range(count):
            listener.submit(JobRun(Claim(f"job {number}", "tenant", None, 1, 2, Lane.NORMAL, spec), lambda: None))
        eventually(lambda: not listener.last, 60)
        eventually(lambda: not engine.suspects, 10)

    run(50)
    eventually(lambda: alive()["run"] == 0, 10)
    before = alive()
    run(JOBS)
    eventually(lambda: alive() == before, 10)
    engine.stop()
    reporter.stop()
    assert listener.ended["canceled"] > JOBS // 2
    assert listener.ended["generated"] > 0
