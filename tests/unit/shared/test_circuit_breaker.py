"""The circuit breaker: it opens after repeated failures and allows one trial after a pause."""

from __future__ import annotations

from tests.clocks import Clock

from limner_shared.circuit_breaker import Breaker, BreakerState


def test_only_consecutive_failures_open_the_breaker():
    breaker = Breaker(3, 10, 40, Clock())
    for success in (False, False, True, False, False):
        breaker.succeeded() if success else breaker.failed()
    assert breaker.state is BreakerState.CLOSED
    breaker.failed()
    assert breaker.state is BreakerState.OPEN


def test_each_failed_trial_doubles_the_pause_up_to_the_maximum():
    clock = Clock()
    breaker = Breaker(1, 10, 40, clock)
    pauses: list[float] = []
    for _ in range(4):
        breaker.failed()
        opened = clock.now
        while breaker.state is BreakerState.OPEN:
            clock.now += 1
        pauses.append(clock.now - opened)
    assert pauses == [10, 20, 40, 40]


def test_a_successful_trial_closes_the_breaker_and_resets_the_pause():
    clock = Clock()
    breaker = Breaker(1, 10, 40, clock)
    for _ in range(2):
        breaker.failed()
        clock.now += 40
    breaker.succeeded()
    assert (breaker.state, breaker.failing_seconds) == (BreakerState.CLOSED, 0.0)
    breaker.failed()
    clock.now += 10
    assert breaker.state is BreakerState.TRIAL


def test_failures_of_earlier_work_do_not_extend_the_pause():
    clock = Clock()
    breaker = Breaker(1, 10, 40, clock)
    breaker.failed()
    clock.now += 9
    breaker.failed()
    clock.now += 1
    assert breaker.state is BreakerState.TRIAL
    assert breaker.failing_seconds == 10
