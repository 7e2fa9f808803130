"""Admission: which queues a worker consumes, and in which order."""

from __future__ import annotations

from typing import Any

import pytest
from tests.clocks import Clock

from limner_shared.circuit_breaker import Breaker
from limner_shared.domain.jobs import Lane
from limner_shared.messaging.celery_app import queue_name, queue_names
from limner_shared.messaging.reports import MODERATION, STORE
from limner_worker.runtime.admission import Admission, queue_order

MODELS = ["a", "b"]


def order(admission: Admission, *models: str):
    strategy = queue_order(admission)()
    strategy.update([name for model in models for name in reversed(queue_names(model))])
    return strategy


def lanes(names: list[str]) -> list[str]:
    return [name.rpartition(".")[2] for name in names]


def test_a_lane_closes_when_its_slots_are_used_and_reopens_when_jobs_leave():
    admission = Admission(4, MODELS)
    admission.add(queue_name("a", Lane.LOW), 3)
    assert admission.is_open(queue_name("a", Lane.LOW))
    admission.add(queue_name("a", Lane.LOW), 3)
    assert not admission.is_open(queue_name("a", Lane.LOW))
    admission.remove(queue_name("a", Lane.LOW), 2)
    assert not admission.is_open(queue_name("a", Lane.LOW))
    admission.remove(queue_name("a", Lane.LOW))
    assert admission.is_open(queue_name("a", Lane.LOW))


@pytest.mark.parametrize("full", [Lane.FIRST, Lane.HIGH, Lane.NORMAL, Lane.LOW])
def test_a_full_lane_takes_no_slot_from_another_lane(full: Any):
    admission = Admission(1, MODELS)
    admission.add(queue_name("a", full), 9)
    assert [lane for lane in Lane if not admission.is_open(queue_name("a", lane))] == [full]


def test_all_queues_are_closed_while_a_job_runs_alone():
    admission = Admission(4, MODELS)
    admission.add(queue_name("a", Lane.ALONE), 1)
    assert not any(admission.is_open(queue_name("a", lane)) for lane in Lane)
    admission.remove(queue_name("a", Lane.ALONE))
    assert all(admission.is_open(queue_name("a", lane)) for lane in Lane)


def test_queues_are_ordered_by_lane_and_then_alternate_between_models():
    names = order(Admission(1, MODELS), "a", "b").consume(99)
    assert lanes(names) == [name for lane in ("first", "high", "normal", "low", "alone") for name in (lane, lane)]
    assert {names[0], names[1]} == {queue_name("a", Lane.FIRST), queue_name("b", Lane.FIRST)}


def test_full_lanes_are_skipped_until_they_reopen():
    admission = Admission(1, MODELS)
    strategy = order(admission, "a")
    admission.add(queue_name("a", Lane.HIGH), 1)
    admission.add(queue_name("a", Lane.LOW), 1)
    assert lanes(strategy.consume(99)) == ["first", "normal", "alone"]
    admission.remove(queue_name("a", Lane.HIGH))
    assert lanes(strategy.consume(99)) == ["first", "high", "normal", "alone"]


def test_nothing_is_fetched_while_a_job_runs_alone():
    admission = Admission(1, MODELS)
    strategy = order(admission, "a", "b")
    admission.add(queue_name("a", Lane.ALONE), 1)
    assert strategy.consume(99) == []


def test_models_take_turns_within_a_lane_without_changing_the_order_of_lanes():
    strategy = order(Admission(1, MODELS), "a", "b", "c")
    turns: list[str] = []
    for _ in range(6):
        first_normal = next(name for name in strategy.consume(99) if name.endswith(".normal"))
        turns.append(first_normal)
        strategy.rotate(first_normal)
        found = lanes(strategy.consume(99))
        assert found == sorted(found, key=lambda name: Lane[name.upper()])
    assert len(set(turns[:3])) == 3
    assert turns[:3] == turns[3:]


def test_the_last_message_of_a_removed_queue_does_not_add_the_queue_again():
    strategy = order(Admission(1, MODELS), "a", "b")
    strategy.update(queue_names("a"))
    strategy.rotate(queue_name("b", Lane.NORMAL))
    assert strategy.consume(99) == queue_names("a")


def test_repeated_failures_close_a_model_until_one_trial_job_succeeds(clock: Clock):
    admission = Admission(4, MODELS)
    admission.model_breakers["a"] = breaker = Breaker(3, 10, 60, clock)
    queues = [queue_name(model, Lane.NORMAL) for model in MODELS]
    for _ in range(3):
        assert all(map(admission.is_open, queues))
        breaker.failed()
    assert [admission.is_open(queue) for queue in queues] == [False, True]
    assert admission.tripped() == ["a"]
    assert not admission.accepts("a")
    clock.now += 10
    assert admission.is_open(queues[0]), "a trial job was not allowed"
    admission.add(queues[0], 1)
    assert not admission.is_open(queues[0]), "a second job was allowed during the trial"
    breaker.failed()
    admission.remove(queues[0])
    clock.now += 19
    assert not admission.is_open(queues[0]), "the failed trial did not double the pause"
    clock.now += 1
    breaker.succeeded()
    assert all(map(admission.is_open, queues))


@pytest.mark.parametrize("what", [STORE, MODERATION])
def test_what_every_job_needs_closes_all_queues_while_it_fails(clock: Clock, what: str):
    admission = Admission(4, MODELS)
    breaker = Breaker(1, 1, 60, clock)
    setattr(admission, f"{what}_breaker", breaker)
    breaker.failed()
    assert not any(admission.is_open(queue_name(model, lane)) for model in MODELS for lane in Lane)
    assert admission.tripped() == [what]
    clock.now += 5
    assert breaker.failing_seconds == 5
    assert admission.is_on_trial("b")
    admission.add(queue_name("a", Lane.LOW), 1)
    assert not admission.is_open(queue_name("b", Lane.LOW)), "a second job was allowed during the trial"
    breaker.succeeded()
    assert admission.is_open(queue_name("b", Lane.LOW))
    assert breaker.failing_seconds == 0


@pytest.fixture
def clock() -> Clock:
    return Clock()
