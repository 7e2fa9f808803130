"""A call of a model that does not return, in or between steps, ends the worker and names its job."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tests.engine.scripted import Heard, Scripted, State, job
from tests.processes import eventually

from limner_shared.db.ledger import AttemptKey
from limner_shared.domain.catalogue import Catalogue
from limner_shared.settings import Settings
from limner_shared.threads import Supervisor
from limner_worker.engine.loop import Engine
from limner_worker.generators.model_cache import ModelCache
from limner_worker.runtime import watchdog
from limner_worker.runtime.watchdog import Watchdog

HANGS, OTHER = AttemptKey("hangs", 1), AttemptKey("other", 1)


class Gate:
    """Where a call hangs until the test lets it go on."""

    def __init__(self) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()

    def wait(self, *_: object) -> None:
        self.entered.set()
        assert self.go_on.wait(30)

    def hold(self, state: State) -> None:
        if state.prompt == "hangs":
            self.wait()

    def hold_then_finish(self, state: State) -> bool:
        self.hold(state)
        return state.steps_done >= state.task.spec.steps

    def hold_in(self, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
        """Let a method of the state of the job `hangs` hang."""

        def hold(state: State) -> None:
            self.hold(state)

        monkeypatch.setattr(State, method, hold)


class Worker:
    """An engine, its model and what its watchdog hears."""

    def __init__(self, catalogue: Catalogue, threads: Supervisor, **options: Any) -> None:
        self.threads, self.heard, self.catalogue = threads, Heard(), catalogue
        self.model = Scripted(catalogue.get("limner-flow"))
        self.models = ModelCache([self.model.card], lambda _card: self.model)
        self.engine = Engine(self.models, self.heard, threads, **options)
        self.ended: list[tuple[str, set[AttemptKey]]] = []

    def submit(self) -> list[Any]:
        jobs = [job(self.catalogue, "hangs", "hangs"), job(self.catalogue, "other")]
        for each in jobs:
            each.preview_wanted = True
        self.engine.submit(jobs)
        return jobs

    def watch(self, settings: Settings) -> tuple[str, set[AttemptKey]]:
        """Run a watchdog until it ends the worker; return why, and the suspects."""

        def end(reason: str, suspects: set[AttemptKey]) -> None:
            self.ended.append((reason, suspects))

        watching = Watchdog(settings, self.threads, self.engine, self.models, lambda: {HANGS, OTHER}, end)
        watching.start()
        eventually(lambda: self.ended)
        watching.stop()
        return self.ended[0]


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    monkeypatch.setattr(watchdog, "INTERVAL_SECONDS", 0.01)
    gate = Gate()
    yield gate
    gate.go_on.set()


@pytest.mark.parametrize("call", ["preview", "checkpoint", "close", "close after cancel", "finished"])
def test_a_call_that_hangs_between_two_steps_ends_the_worker_and_its_job_is_suspect(
    catalogue: Catalogue, settings: Settings, gate: Gate, monkeypatch: pytest.MonkeyPatch, call: str
):
    worker = Worker(catalogue, Supervisor(), checkpoint_seconds=0)
    if call == "preview":
        monkeypatch.setattr(worker.model, "preview", gate.hold)
    elif call == "finished":
        monkeypatch.setattr(State, call, property(gate.hold_then_finish))
    else:
        gate.hold_in(monkeypatch, call.partition(" ")[0])
    worker.model.gated = True
    worker.engine.start()
    jobs = worker.submit()
    if call == "close after cancel":
        eventually(lambda: len(worker.model.states) == len(jobs))
        worker.engine.abort(jobs[:1])
    worker.model.gate.release(1000)
    assert gate.entered.wait(10)
    assert worker.engine.stuck_attempts(60) is None
    limited = settings.model_copy(update={"step_timeout_seconds": 0.05})
    assert worker.watch(limited) == ("a call of a model hangs the thread engine", {HANGS})
    gate.go_on.set()
    worker.engine.stop()
    assert worker.engine.stuck_attempts(0) is None


def test_an_engine_that_hangs_between_calls_is_stalled_and_its_jobs_are_suspects(
    catalogue: Catalogue, settings: Settings, gate: Gate, monkeypatch: pytest.MonkeyPatch
):
    now = [0.0]
    worker = Worker(catalogue, Supervisor(clock=lambda: now[0]), limit_seconds=100)
    monkeypatch.setattr(worker.models, "recount", gate.wait)
    worker.engine.start()
    now[0] = 1000
    assert worker.threads.stalled() == {}, "an engine that waits for work is not stalled"
    jobs = worker.submit()
    assert gate.entered.wait(10)
    worker.engine.abort(jobs[1:])
    now[0] = 1100
    assert worker.threads.stalled() == {}
    now[0] = 1101
    assert worker.threads.stalled() == {"engine": 101}
    assert worker.watch(settings) == ("threads are stalled: engine", {HANGS, OTHER})
    gate.go_on.set()
    worker.heard.wait(1)
    worker.engine.stop()


def test_slow_loads_and_calls_of_one_turn_are_no_stall(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch):
    now, seen, limit = [0.0], list[Any](), 100
    worker = Worker(catalogue, Supervisor(clock=lambda: now[0]), checkpoint_seconds=0, limit_seconds=limit)

    def slow(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def slower(*args: Any) -> Any:
            now[0] += limit
            seen.append(worker.threads.stalled())
            return original(*args)

        monkeypatch.setattr(owner, name, slower)

    slow(worker.models, "ensure_loaded")
    for name in ("start", "step", "decode"):
        slow(worker.model, name)
    slow(State, "close")
    worker.model.room = 1  # each step of two rows is made again in halves
    worker.engine.start()
    worker.submit()
    worker.heard.wait(2)
    worker.engine.stop()
    assert len(seen) >= 10
    assert not any(seen)
