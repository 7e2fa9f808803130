"""What a worker takes in hand, and in which order it looks for it."""

from __future__ import annotations

import pytest

from limner_shared.celery_app import queue_name, queue_names
from limner_shared.jobs import Lane
from limner_worker.admission import Admission, queue_order


def order(admission: Admission, *models: str):
    strategy = queue_order(admission)()
    strategy.update([name for model in models for name in reversed(queue_names(model))])
    return strategy


def lanes(names: list[str]) -> list[str]:
    return [name.rpartition(".")[2] for name in names]


def test_a_lane_closes_with_as_many_jobs_as_there_are_slots_and_opens_as_they_leave():
    admission = Admission(slots=4)
    admission.arrived(Lane.LOW, 3)
    assert admission.is_open(Lane.LOW)
    admission.arrived(Lane.LOW, 3)
    assert not admission.is_open(Lane.LOW)
    admission.left(Lane.LOW, 2)
    assert not admission.is_open(Lane.LOW)
    admission.left(Lane.LOW)
    assert admission.is_open(Lane.LOW)


@pytest.mark.parametrize("full", [Lane.FIRST, Lane.HIGH, Lane.NORMAL, Lane.LOW])
def test_a_full_lane_takes_no_place_from_another(full):
    admission = Admission(slots=1)
    admission.arrived(full, 9)
    assert [lane for lane in Lane if not admission.is_open(lane)] == [full]


def test_while_a_job_runs_alone_nothing_is_open_not_even_for_another():
    admission = Admission(slots=4)
    admission.arrived(Lane.ALONE, 1)
    assert not any(admission.is_open(lane) for lane in Lane)
    admission.left(Lane.ALONE)
    assert all(admission.is_open(lane) for lane in Lane)


def test_the_better_lane_comes_first_and_models_stand_side_by_side_in_it():
    names = order(Admission(1), "a", "b").consume(99)
    assert lanes(names) == [name for lane in ("first", "high", "normal", "low", "alone") for name in (lane, lane)]
    assert {names[0], names[1]} == {queue_name("a", Lane.FIRST), queue_name("b", Lane.FIRST)}


def test_full_lanes_are_left_out_and_looked_at_again_once_they_open():
    admission = Admission(slots=1)
    strategy = order(admission, "a")
    admission.arrived(Lane.HIGH, 1)
    admission.arrived(Lane.LOW, 1)
    assert lanes(strategy.consume(99)) == ["first", "normal", "alone"]
    admission.left(Lane.HIGH)
    assert lanes(strategy.consume(99)) == ["first", "high", "normal", "alone"]


def test_nothing_is_fetched_beside_a_job_that_runs_alone():
    admission = Admission(slots=1)
    strategy = order(admission, "a", "b")
    admission.arrived(Lane.ALONE, 1)
    assert strategy.consume(99) == []


def test_models_take_turns_within_a_lane_and_the_lanes_keep_their_order():
    strategy = order(Admission(1), "a", "b", "c")
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
    strategy = order(Admission(1), "a", "b")
    strategy.update(queue_names("a"))
    strategy.rotate(queue_name("b", Lane.NORMAL))
    assert strategy.consume(99) == queue_names("a")
