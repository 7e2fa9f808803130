"""Pacing: no receiver delays another."""

from __future__ import annotations

import pytest
from tests.clocks import Clock

from limner_dispatcher.webhooks.pacing import FAILURES, LONGEST_PAUSE_SECONDS, PAUSE_SECONDS, Pacing
from limner_shared.domain.webhooks import DueReceiver


@pytest.fixture
def clock() -> Clock:
    return Clock()


def due(*names: str, tenant: str = "") -> list[DueReceiver]:
    return [DueReceiver(name, tenant or f"tenant of {name}") for name in names]


def begin(pacing: Pacing, receivers: list[DueReceiver]) -> dict[str, int]:
    allowed = pacing.allocate(receivers)
    for name, count in allowed.items():
        pacing.started(name, count)
    return allowed


def prove(pacing: Pacing, *names: str) -> None:
    for name in names:
        begin(pacing, due(name))
        pacing.ended(name, delivered=True)


def test_a_new_receiver_gets_one_delivery_and_after_a_success_its_full_concurrency(clock: Clock):
    pacing = Pacing(16, 4, 100, clock)
    assert begin(pacing, due("a")) == {"a": 1}
    assert begin(pacing, due("a")) == {}
    pacing.ended("a", delivered=True)
    assert begin(pacing, due("a")) == {"a": 4}
    assert pacing.in_flight == 4


def test_after_failures_the_circuit_breaker_opens_and_then_one_is_tried(clock: Clock):
    pacing = Pacing(16, 4, 100, clock)
    for _ in range(FAILURES):
        assert begin(pacing, due("a")) == {"a": 1}
        pacing.ended("a", delivered=False)
    assert begin(pacing, due("a", "b")) == {"b": 1}
    clock.now += PAUSE_SECONDS
    assert begin(pacing, due("a")) == {"a": 1}
    assert begin(pacing, due("a")) == {}
    pacing.ended("a", delivered=True)
    assert begin(pacing, due("a")) == {"a": 4}


def test_hanging_receivers_leave_places_for_the_others(clock: Clock):
    pacing = Pacing(16, 8, 1000, clock)
    prove(pacing, "healthy")
    hanging = [f"hanging {number}" for number in range(100)]
    assert sum(begin(pacing, due(*hanging)).values()) == 8, "unproven receivers took more than half of the slots"
    assert begin(pacing, due(*hanging, "healthy"))["healthy"] >= 4


def test_a_tenants_new_receivers_leave_places_for_those_of_other_tenants(clock: Clock):
    pacing = Pacing(64, 8, 1000, clock)
    assert sum(begin(pacing, due(*map(str, range(500)), tenant="a")).values()) == 16, "not half of the places for a try"
    assert begin(pacing, due("new", tenant="b")) == {"new": 1}
    assert sum(begin(pacing, due(*map(str, range(500, 999)), tenant="c")).values()) == 8
    assert begin(pacing, due("newer", tenant="d")) == {"newer": 1}


def test_receivers_that_begin_to_hang_leave_a_quarter_for_those_with_nothing_in_flight(clock: Clock):
    pacing = Pacing(16, 8, 1000, clock)
    names = [f"healthy {number}" for number in range(10)]
    prove(pacing, *names)
    begin(pacing, due(*names[:2]))
    assert pacing.in_flight == 12
    assert begin(pacing, due(*names)) == dict.fromkeys(names[2:6], 1)


def test_one_tenant_gets_at_most_half_of_the_slots(clock: Clock):
    pacing = Pacing(16, 8, 1000, clock)
    names = [f"hook {number}" for number in range(20)]
    for name in names:
        begin(pacing, due(name, tenant="greedy"))
        pacing.ended(name, delivered=True)
    assert sum(begin(pacing, due(*names, tenant="greedy")).values()) == 8
    assert begin(pacing, due("other")) == {"other": 1}


def test_the_rate_of_a_receiver_is_limited(clock: Clock):
    pacing = Pacing(64, 10, 5, clock)
    prove(pacing, "a")
    assert begin(pacing, due("a")) == {"a": 4}  # a burst of one second, less the first
    for _ in range(4):
        pacing.ended("a", delivered=True)
    assert begin(pacing, due("a")) == {}
    assert pacing.is_rated(due("a"))
    clock.now += 0.2
    assert begin(pacing, due("a")) == {"a": 1}


def test_receivers_take_turns_for_the_last_slots(clock: Clock):
    pacing = Pacing(2, 1, 1000, clock)
    names = ["a", "b", "c", "d"]
    prove(pacing, *names)
    served: list[str] = []
    for _ in range(8):
        allowed = begin(pacing, due(*names))
        served += allowed
        for name in allowed:
            pacing.ended(name, delivered=True)
    assert [served.count(name) for name in names] == [4, 4, 4, 4]


def test_forgetting_idle_receivers_spares_those_that_are_due(clock: Clock, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("limner_dispatcher.webhooks.pacing.REMEMBERED", 3)
    pacing = Pacing(64, 4, 100, clock)
    prove(pacing, "a", "b", "c")
    assert begin(pacing, due("a", "d")) == {"a": 4, "d": 1}
    pacing.ended("d", delivered=True)
    assert begin(pacing, due("b")) == {"b": 1}, "it was forgotten, and is new again"


def test_dead_receivers_with_nothing_to_send_are_forgotten_after_the_longest_pause(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("limner_dispatcher.webhooks.pacing.REMEMBERED", 3)
    pacing = Pacing(64, 4, 100, clock)
    names = ["dead 1", "dead 2", "dead 3"]
    for _ in range(FAILURES):
        begin(pacing, due(*names))
        for name in names:
            pacing.ended(name, delivered=False)
    begin(pacing, due("a"))
    assert set(names) <= set(pacing._receivers), "forgotten while their circuit breakers may be open"
    clock.now += LONGEST_PAUSE_SECONDS
    begin(pacing, due("a", "dead 1"))
    assert set(pacing._receivers) == {"a", "dead 1"}
