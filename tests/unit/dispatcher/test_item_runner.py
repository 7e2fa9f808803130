"""ItemRunner: a failing item is set aside, and the other items continue."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.errors import LockNotAvailable
from redis.exceptions import NoPermissionError
from sqlalchemy.exc import OperationalError
from tests.clocks import Clock

from limner_dispatcher.item_runner import (
    FIRST_SECONDS,
    LONGEST_PASSING_SECONDS,
    LONGEST_SECONDS,
    ItemRunner,
)
from limner_shared import metrics


class Outage(Exception):
    """A failure that affects all items, such as an outage."""


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def runner(clock: Clock) -> ItemRunner:
    return ItemRunner(lambda error: isinstance(error, Outage), clock)


def failing(*bad: str, error: Exception | None = None):
    """Return a function that fails for these items, and the list of items it was called with."""
    done: list[str] = []

    def work(name: str) -> None:
        done.append(name)
        if name in bad:
            raise error or ValueError(name)

    return work, done


def test_a_failing_item_does_not_stop_the_others_and_is_reported(runner: ItemRunner, monkeypatch: pytest.MonkeyPatch):
    counted: list[str] = []

    def count(*, duty: str) -> None:
        counted.append(duty)

    monkeypatch.setattr(metrics.DISPATCHER_FAILURES, "inc", count)
    work, done = failing("b")
    runner.each("sweep", ["c", "a", "b"], work)
    assert done == ["a", "b", "c"]
    assert counted == ["sweep"]
    [aside] = runner.failing_items()
    assert (aside.duty, aside.item, aside.error, aside.failures) == ("sweep", "b", "ValueError", 1)
    assert aside.retry_in == FIRST_SECONDS
    assert runner.failures() == {"sweep": 1}


def test_repeated_failures_double_the_pause_of_an_item_up_to_a_limit(runner: ItemRunner, clock: Clock):
    work, done = failing("b")
    pauses: list[float] = []
    for _ in range(12):
        runner.each("sweep", ["b"], work)
        pauses.append(runner.failing_items()[0].retry_in)
        clock.now += pauses[-1] - 0.001
        runner.each("sweep", ["b"], work)
        clock.now += 0.001
    assert len(done) == 12
    assert pauses == [min(LONGEST_SECONDS, FIRST_SECONDS * 2**n) for n in range(12)]


@pytest.mark.parametrize(
    "error",
    [OperationalError("SELECT", {}, LockNotAvailable("locked")), NoPermissionError("no rights")],
    ids=["locked rows", "a refused command"],
)
def test_an_item_that_failed_for_a_passing_state_is_retried_soon(runner: ItemRunner, clock: Clock, error: Exception):
    work, _ = failing("b", error=error)
    for _ in range(9):
        runner.each("sweep", ["b"], work)
        clock.now += LONGEST_PASSING_SECONDS
    assert runner.failing_items()[0].failures == 9


def test_an_item_whose_retry_becomes_due_during_a_pass_without_it_stays_set_aside(runner: ItemRunner, clock: Clock):
    runner.each("sweep", ["a", "b"], failing("a", "b")[0])
    clock.now += FIRST_SECONDS
    runner.keep("sweep", ["a"])
    assert [(item.item, item.failures) for item in runner.failing_items()] == [("a", 1)]
    assert runner.finished() == {"sweep": 0.0}


def test_an_item_is_no_longer_set_aside_after_success_or_removal(runner: ItemRunner, clock: Clock):
    runner.each("sweep", ["a", "b"], failing("a", "b")[0])
    clock.now += FIRST_SECONDS
    runner.each("sweep", ["a"], failing()[0])
    assert runner.failing_items() == []


def test_a_thread_that_stands_by_keeps_no_record_of_its_items(runner: ItemRunner):
    runner.each("sweep", ["a"], failing("a")[0])
    other = threading.Thread(target=lambda: runner.each("release", ["b"], failing("b")[0]))
    other.start()
    other.join()
    runner.stand_by()
    assert [(item.duty, item.item) for item in runner.failing_items()] == [("release", "b")]


def test_an_outage_ends_the_pass_and_is_not_charged_to_an_item(runner: ItemRunner):
    work, done = failing("a", error=Outage())
    with pytest.raises(Outage):
        runner.each("sweep", ["a", "b"], work)
    assert done == ["a"]
    assert runner.failing_items() == []
    assert runner.finished() == {}


def test_items_of_different_duties_are_independent(runner: ItemRunner):
    runner.each("release", ["flow"], failing("flow")[0])
    work, done = failing()
    runner.each("move up", ["flow"], work)
    assert done == ["flow"]
    assert [aside.duty for aside in runner.failing_items()] == ["release"]


def test_the_report_has_the_seconds_since_each_duty_finished(runner: ItemRunner, clock: Clock):
    runner.run("reap", lambda: None)
    clock.now += 5
    runner.run("expire", lambda: None)
    assert runner.finished() == {"reap": 5.0, "expire": 0.0}


@given(st.sets(st.text("abc", min_size=1, max_size=4), min_size=1), st.integers(1, 5))
def test_an_interrupted_pass_continues_so_that_every_item_is_processed(items: Any, at_once: int):
    clock = Clock()
    runner = ItemRunner(lambda _error: False, clock)
    done: list[str] = []

    def work(name: str) -> None:
        done.append(name)
        clock.now += 1

    for _ in range(-(-len(items) // at_once)):
        runner.each("sweep", items, work, seconds=at_once)
    assert set(done) == items
    assert max(done.count(name) for name in items) - min(done.count(name) for name in items) <= 1
