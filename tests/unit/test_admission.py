"""What a worker takes in hand, and in which order it looks for it."""

from __future__ import annotations

import pytest

from limner_shared.circuit_breaker import Breaker
from limner_shared.domain.jobs import Lane
from limner_shared.messaging.celery_app import queue_name, queue_names
from limner_worker.runtime.admission import Admission, queue_order

MODELS = ["a", "b"]


def order(admission: Admission, *models: str):
    strategy = queue_order(admission)()
    strategy.update([name for model in models for name in reversed(queue_names(model))])
    return strategy


def lanes(names: list[str]) -> list[str]:
    return [name.rpartition(".")[2] for name in names]


def test_a_lane_closes_with_as_many_jobs_as_there_are_slots_and_opens_as_they_leave():
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
def test_a_full_lane_takes_no_place_from_another(full):
    admission = Admission(1, MODELS)
    admission.add(queue_name("a", full), 9)
    assert [lane for lane in Lane if not admission.is_open(queue_name("a", lane))] == [full]


def test_while_a_job_runs_alone_nothing_is_open_not_even_for_another():
    admission = Admission(4, MODELS)
    admission.add(queue_name("a", Lane.ALONE), 1)
    assert not any(admission.is_open(queue_name("a", lane)) for lane in Lane)
    admission.remove(queue_name("a", Lane.ALONE))
    assert all(admission.is_open(queue_name("a", lane)) for lane in Lane)


def test_the_better_lane_comes_first_and_models_stand_side_by_side_in_it():
    names = order(Admission(1, MODELS), "a", "b").consume(99)
    assert lanes(names) == [name for lane in ("first", "high", "normal", "low", "alone") for name in (lane, lane)]
    assert {names[0], names[1]} == {queue_name("a", Lane.FIRST), queue_name("b", Lane.FIRST)}


def test_full_lanes_are_left_out_and_looked_at_again_once_they_open():
    admission = Admission(1, MODELS)
    strategy = order(admission, "a")
    admission.add(queue_name("a", Lane.HIGH), 1)
    admission.add(queue_name("a", Lane.LOW), 1)
    assert lanes(strategy.consume(99)) == ["first", "normal", "alone"]
    admission.remove(queue_name("a", Lane.HIGH))
    assert lanes(strategy.consume(99)) == ["first", "high", "normal", "alone"]


def test_nothing_is_fetched_beside_a_job_that_runs_alone():
    admission = Admission(1, MODELS)
    strategy = order(admission, "a", "b")
    admission.add(queue_name("a", Lane.ALONE), 1)
    assert strategy.consume(99) == []


def test_models_take_turns_within_a_lane_and_the_lanes_keep_their_order():
    strategy = order(Admission(1, MODELS), "a", "b", "c")
    turns = []
    for _ in range(6):
        first_normal = next(name for name in strategy.consume(99) if name.endswith(".normal"))
        turns.append(first_normal)
        strategy.rotate(first_normal)
        found = lanes(strategy.consume(99))
        assert found == sorted(found, key=lambda name: Lane[name.upper()])
    assert len(set(turns[:3])) == 3
    assert turns[:3] == turns[3:]


def test_a_queue_that_is_no_longer_consumed_does_not_come_back_with_its_last_message():
    strategy = order(Admission(1, MODELS), "a", "b")
    strategy.update(queue_names("a"))
    strategy.rotate(queue_name("b", Lane.NORMAL))
    assert strategy.consume(99) == queue_names("a")


def test_a_model_whose_jobs_fail_one_after_another_is_left_alone_then_tried_with_one_job(clock):
    admission = Admission(4, MODELS)
    admission.models["a"] = breaker = Breaker(3, 10, 60, clock)
    queues = [queue_name(model, Lane.NORMAL) for model in MODELS]
    for _ in range(3):
        assert all(map(admission.is_open, queues))
        breaker.failed()
    assert [admission.is_open(queue) for queue in queues] == [False, True]
    assert admission.paused() == ["a"]
    assert not admission.accepts("a")
    clock.now += 10
    assert admission.is_open(queues[0]), "one is tried"
    admission.add(queues[0], 1)
    assert not admission.is_open(queues[0]), "and no other beside it"
    breaker.failed()
    admission.remove(queues[0])
    clock.now += 19
    assert not admission.is_open(queues[0]), "each failed trial doubles the pause"
    clock.now += 1
    breaker.succeeded()
    assert all(map(admission.is_open, queues))


def test_a_picture_store_that_fails_closes_every_queue_until_it_answers(clock):
    admission = Admission(4, MODELS)
    admission.store = Breaker(1, 1, 60, clock)
    admission.store.failed()
    assert not any(admission.is_open(queue_name(model, lane)) for model in MODELS for lane in Lane)
    clock.now += 5
    assert admission.store.failing_seconds == 5
    admission.store.succeeded()
    assert admission.is_open(queue_name("b", Lane.LOW))
    assert admission.store.failing_seconds == 0


class Clock:
    """Time that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()
