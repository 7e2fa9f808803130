"""An engine with a generator that does what a test says, and a listener that records what it hears."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from limner_shared.db.ledger import Claim
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, Lane
from limner_shared.threads import Supervisor
from limner_worker.engine.job_run import JobRun
from limner_worker.engine.loop import Engine
from limner_worker.generators.base import Decoded, Drawn, ImageTask
from limner_worker.generators.model_cache import ModelCache


@dataclass
class State:
    task: ImageTask
    steps_done: int = 0
    error: Exception | None = None
    key: str = ""
    rows: int = 1
    closed: bool = False

    @property
    def prompt(self) -> str:
        return self.task.spec.prompt

    @property
    def finished(self) -> bool:
        if self.prompt == "bad state" and self.steps_done == 2:
            raise AttributeError("this pipeline has no timesteps")
        return self.steps_done >= self.task.spec.steps

    def checkpoint(self) -> bytes | None:
        return f"step {self.steps_done}".encode()

    def close(self) -> None:
        assert not self.closed
        self.closed = True


def failed_replay(task: ImageTask) -> Exception | None:
    """The error of a pipeline whose skipped steps raise."""
    return ValueError("not enough values to unpack") if task.checkpoint == b"of skipped steps that raise" else None


class Scripted:
    """A generator whose prompts select faults that a real model does not produce on request."""

    def __init__(self, card: Any) -> None:
        self.card = card
        self.batches: list[int] = []
        self.states: list[State] = []
        self.gate = threading.Semaphore(0)
        self.gated = False
        self.room = 1000
        """The most rows that fit into memory."""
        self.beside = False
        """Whether decodes wait until `decoded` is set while steps continue."""
        self.decoded = threading.Event()

    nbytes = 100

    def fingerprint(self) -> dict[str, Any]:
        return {}

    def start(self, tasks: Sequence[ImageTask]):
        if any(task.spec.prompt == "bad start" for task in tasks):
            raise ValueError("cannot encode")
        if any(task.checkpoint == b"damaged" for task in tasks):
            raise ValueError("cannot be read")
        wide = ["five wide" in task.spec.prompt for task in tasks]
        states = [
            State(task, error=failed_replay(task), rows=5 if each else 1)
            for task, each in zip(tasks, wide, strict=True)
        ]
        self.states += states
        return states

    def step(self, states: Sequence[State]) -> None:
        if self.gated:
            self.gate.acquire(timeout=10)
        if len(states) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if any(state.prompt == "bad step" for state in states):
            raise RuntimeError("cannot step: the tenant must not read this")
        if any(state.prompt == "breaks the device" for state in states):
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        self.batches.append(sum(state.rows for state in states))
        for state in states:
            state.steps_done += 1
            if state.prompt == "bad row":
                state.error = ValueError("only this one")

    def preview(self, state: State):
        if state.prompt == "bad preview":
            raise RuntimeError("cannot be shown")
        return np.zeros((8, 8, 3), np.uint8)

    def decode(self, states: Sequence[State]):
        if any(state.prompt == "not finite" for state in states):
            raise FloatingPointError("not finite")
        pictures = [lambda: np.zeros((8, 8, 3), np.uint8) for _ in states]
        return AsyncDecode(self.decoded, states, pictures) if self.beside else Decoded(pictures)


class AsyncDecode:
    """A decode in progress; some fail only at the end."""

    seconds = 0.1

    def __init__(self, ready: threading.Event, states: Sequence[State], pictures: list[Drawn]) -> None:
        self.ready, self.states, self.result = ready, states, pictures

    def done(self) -> bool:
        return self.ready.is_set()

    def drawn(self) -> list[Drawn]:
        assert self.ready.wait(10)
        if any(state.prompt == "bad decode" for state in self.states):
            raise RuntimeError("cannot decode")
        return self.result


class Heard:
    """A listener that records the engine's calls and lets a test wait for them."""

    def __init__(self) -> None:
        self.done: dict[str, str] = {}
        self.shown: list[str] = []
        self.kept: defaultdict[str, list[bytes]] = defaultdict(list)
        self.news = threading.Condition()

    def progressed(self, job: JobRun) -> None:
        return

    def previewed(self, job: JobRun, picture: Any) -> None:
        self.shown.append(job.id)

    def checkpointed(self, job: JobRun, index: int, checkpoint: bytes) -> None:
        self.kept[job.id].append(checkpoint)

    def generated(self, jobs: Sequence[JobRun]) -> None:
        for job in jobs:
            self._tell(job, "generated")

    def failed(self, job: JobRun, error: Any) -> None:
        self._tell(job, error.message)

    def unavailable(self, jobs: Sequence[JobRun], reason: str) -> None:
        for job in jobs:
            self._tell(job, f"unavailable: {reason}")

    def _tell(self, job: JobRun, what: str) -> None:
        with self.news:
            assert job.id not in self.done, "told twice"
            self.done[job.id] = what
            self.news.notify_all()

    def wait(self, count: int) -> dict[str, str]:
        with self.news:
            assert self.news.wait_for(lambda: len(self.done) >= count, timeout=60), self.done
        return self.done


@pytest.fixture
def engine(catalogue: Catalogue):
    generator = Scripted(catalogue.get("limner-flow"))
    engine = Engine(ModelCache([generator.card], lambda _card: generator), Heard(), Supervisor())
    engine.start()
    yield engine, generator, engine.listener
    generator.gate.release(1000)
    engine.stop()


def job(catalogue: Catalogue, name: str, prompt: str = "fine", lane: int = 1, **request: Any) -> JobRun:
    spec = catalogue.resolve(JobRequest.model_validate({"prompt": prompt, "steps": 3} | request))[1]
    return JobRun(Claim(name, "tenant", None, 1, 2, Lane(lane), spec), lambda: None)
