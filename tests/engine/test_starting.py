"""Images are started by the batch: the steps of running ones go on before the next are started."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from tests.engine.scripted import engine, job

from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import Lane
from limner_worker.engine.pending_models import PendingModels

__all__ = ["engine"]


def test_a_crowd_of_jobs_is_started_by_the_batch_and_steps_go_on_between(
    engine: Any, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, generator, heard = engine
    order: list[tuple[str, int]] = []

    def noted(name: str) -> Any:
        original = getattr(generator, name)

        def call(states: Sequence[Any]) -> Any:
            order.append((name, len(states)))
            return original(states)

        return call

    for name in ("start", "step"):
        monkeypatch.setattr(generator, name, noted(name))
    running.submit([job(catalogue, str(number)) for number in range(20)])
    assert set(heard.wait(20).values()) == {"generated"}
    assert [each for each in order[:5] if each[0] == "start"] == [("start", 8), ("start", 8), ("start", 4)]
    assert order[1] == ("step", 8), "no step was made before the next images were started"


def test_the_best_lanes_are_started_first_and_the_others_keep_their_order(catalogue: Catalogue) -> None:
    pending = PendingModels()
    jobs = [job(catalogue, f"low {n}", lane=Lane.LOW, n=2) for n in range(3)] + [
        job(catalogue, "first", lane=Lane.FIRST)
    ]
    for each in jobs:
        pending.add("limner-flow", each, now=1.0)
    jobs[1].closed = True
    assert [each.id for each in pending.take_some("limner-flow", 4, now=2.0)] == ["first", "low 0"]
    assert len(pending) == 1
    assert [each.id for each in pending.take_some("limner-flow", 1, now=3.0)] == ["low 2"], "at least one job"
    assert len(pending) == 0


def test_what_is_left_does_not_count_as_waiting_for_memory(catalogue: Catalogue) -> None:
    pending = PendingModels()
    for number in range(2):
        pending.add("limner-flow", job(catalogue, str(number)), now=0.0)
    pending.add("another", job(catalogue, "other"), now=1.0)
    pending.take_some("limner-flow", 1, now=60.0)
    assert pending.startable(now=60.0) == ["another"], "the model that waits for memory is the first"
    assert pending.startable(now=2.0) == ["another", "limner-flow"]
