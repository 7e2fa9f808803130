"""Isolation: a failing item is set aside, and the other items continue."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.errors import LockNotAvailable
from redis.exceptions import NoPermissionError
from sqlalchemy.exc import OperationalError
from tests.clocks import Clock

from limner_dispatcher.duties import (
    FIRST_SECONDS,
    LONGEST_PASSING_SECONDS,
    LONGEST_SECONDS,
    Isolation,
)


class Outage(Exception):
    """A failure that affects all items, such as an outage."""


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def isolation(clock: Clock) -> Isolation:
    return Isolation(lambda error: isinstance(error, Outage), clock)


def failing(*bad: str, error: Exception | None = None):
    """Return a function that fails for these items, and the list of items it was called with."""
    done: list[str] = []

    def work(name: str) -> None:
        done.append(name)
        if name in bad:
            raise error or ValueError(name)

    return work, done


def test_a_failing_item_does_not_stop_the_others_and_is_reported(isolation: Isolation):
    work, done = failing("b")
    isolation.each("sweep", ["c", "a", "b"], work)
    assert done == ["a", "b", "c"]
    [aside] = isolation.set_aside()
    assert (aside.duty, aside.item, aside.error, aside.failures) == ("sweep", "b", "ValueError", 1)
    assert aside.retry_in == FIRST_SECONDS
    assert isolation.failures() == {"sweep": 1}


def test_repeated_failures_double_the_pause_of_an_item_up_to_a_limit(isolation: Isolation, clock: Clock):
    work, done = failing("b")
    pauses: list[float] = []
    for _ in range(12):
        isolation.each("sweep", ["b"], work)
        pauses.append(isolation.set_aside()[0].retry_in)
        clock.now += pauses[-1] - 0.001
        isolation.each("sweep", ["b"], work)
        clock.now += 0.001
    assert len(done) == 12
    assert pauses == [min(LONGEST_SECONDS, FIRST_SECONDS * 2**n) for n in range(12)]


@pytest.mark.parametrize(
    "error",
    [OperationalError("SELECT", {}, LockNotAvailable("locked")), NoPermissionError("no rights")],
    ids=["locked rows", "a refused command"],
)
def test_an_item_that_failed_for_a_passing_state_is_retried_soon(isolation: Isolation, clock: Clock, error: Exception):
    work, _ = failing("b", error=error)
    for _ in range(9):
        isolation.each("sweep", ["b"], work)
        clock.now += LONGEST_PASSING_SECONDS
    assert isolation.set_aside()[0].failures == 9


def test_an_item_is_no_longer_set_aside_after_success_or_removal(isolation: Isolation, clock: Clock):
    isolation.each("sweep", ["a", "b"], failing("a", "b")[0])
    clock.now += FIRST_SECONDS
    isolation.each("sweep", ["a"], failing()[0])
    assert isolation.set_aside() == []


def test_an_outage_ends_the_pass_and_is_not_charged_to_an_item(isolation: Isolation):
    work, done = failing("a", error=Outage())
    with pytest.raises(Outage):
        isolation.each("sweep", ["a", "b"], work)
    assert done == ["a"]
    assert isolation.set_aside() == []
    assert isolation.finished() == {}


def test_items_of_different_duties_are_independent(isolation: Isolation):
    isolation.each("release", ["flow"], failing("flow")[0])
    work, done = failing()
    isolation.each("move up", ["flow"], work)
    assert done == ["flow"]
    assert [aside.duty for aside in isolation.set_aside()] == ["release"]


def test_the_report_has_the_seconds_since_each_duty_finished(isolation: Isolation, clock: Clock):
    isolation.run("reap", lambda: None)
    clock.now += 5
    isolation.run("expire", lambda: None)
    assert isolation.finished() == {"reap": 5.0, "expire": 0.0}


@given(st.sets(st.text("abc", min_size=1, max_size=4), min_size=1), st.integers(1, 5))
def test_an_interrupted_pass_continues_so_that_every_item_is_processed(items: Any, at_once: int):
    clock = Clock()
    isolation = Isolation(lambda _error: False, clock)
    done: list[str] = []

    def work(name: str) -> None:
        done.append(name)
        clock.now += 1

    for _ in range(-(-len(items) // at_once)):
        isolation.each("sweep", items, work, seconds=at_once)
    assert set(done) == items
    assert max(done.count(name) for name in items) - min(done.count(name) for name in items) <= 1
