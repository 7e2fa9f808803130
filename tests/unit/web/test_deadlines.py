"""Waits that began together end one after another, if they are very many."""

from __future__ import annotations

from collections import Counter

from limner_web.updates.deadlines import INTERVAL_SECONDS, MOST_IN_INTERVAL, SHORTEST, Deadlines


def test_a_few_waits_have_the_length_that_their_clients_asked_for():
    deadlines = Deadlines()
    assert [deadlines.take(100.0, 25.0) for _ in range(MOST_IN_INTERVAL)] == [125.0] * MOST_IN_INTERVAL


def test_many_waits_that_begin_together_end_in_successive_slots_and_not_before_the_shortest_wait():
    deadlines = Deadlines()
    ends = [deadlines.take(100.0, 25.0) for _ in range(1500)]
    slots = Counter(int(end / INTERVAL_SECONDS) for end in ends)
    assert max(slots.values()) == MOST_IN_INTERVAL
    assert min(ends) >= 100.0 + 25.0 * SHORTEST
    assert max(ends) == 125.0


def test_more_waits_than_there_is_room_for_are_spread_evenly():
    deadlines = Deadlines()
    ends = [deadlines.take(100.0, 2.0) for _ in range(10 * MOST_IN_INTERVAL * 2)]
    slots = Counter(int(end / INTERVAL_SECONDS) for end in ends)
    assert max(slots.values()) - min(slots.values()) <= 1
    assert deadlines.take(100.0, 0.01) >= 100.0


def test_a_wait_that_is_over_leaves_its_place_to_another():
    deadlines = Deadlines()
    ends = [deadlines.take(100.0, 25.0) for _ in range(1000)]
    for end in ends:
        deadlines.give_back(end)
    assert len(deadlines) == 0
    assert deadlines.take(100.0, 25.0) == 125.0
