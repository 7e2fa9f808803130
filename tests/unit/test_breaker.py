"""What fails again and again is left alone for a while, then tried once."""

from __future__ import annotations

from limner_shared.circuit_breaker import Breaker, BreakerState


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_opens_after_failures_in_a_row_only():
    breaker = Breaker(3, 10, 40, Clock())
    for well in (False, False, True, False, False):
        breaker.succeeded() if well else breaker.failed()
    assert breaker.state is BreakerState.CLOSED
    breaker.failed()
    assert breaker.state is BreakerState.OPEN


def test_each_failed_trial_doubles_the_pause_up_to_the_longest():
    clock = Clock()
    breaker = Breaker(1, 10, 40, clock)
    pauses = []
    for _ in range(4):
        breaker.failed()
        opened = clock.now
        while breaker.state is BreakerState.OPEN:
            clock.now += 1
        pauses.append(clock.now - opened)
    assert pauses == [10, 20, 40, 40]


def test_a_trial_that_goes_well_closes_it_and_the_next_pause_is_the_shortest_again():
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


def test_failures_of_earlier_work_change_nothing_while_it_is_open():
    clock = Clock()
    breaker = Breaker(1, 10, 40, clock)
    breaker.failed()
    clock.now += 9
    breaker.failed()
    clock.now += 1
    assert breaker.state is BreakerState.TRIAL
    assert breaker.failing_seconds == 10
