"""Aging: which lanes are starved, and that no message waits forever."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from limner_dispatcher.aging import CLASSES, Aging
from limner_shared.domain.jobs import Lane

PERIOD = 20.0
UNCHANGED = "the same message"


def starved_lanes(
    aging: Aging, rounds: Sequence[Mapping[Lane, object]], seconds: float = 1.0
) -> list[tuple[float, Lane]]:
    """The times and lanes that are reported as starved; rounds are `seconds` apart and list oldest messages."""
    found: list[tuple[float, Lane]] = []
    for number, oldest in enumerate(rounds):
        moment = number * seconds
        found += [(moment, lane) for lane in aging.starved({lane: oldest.get(lane) for lane in Lane}, moment)]
    return found


def test_a_stalled_lane_below_a_served_lane_is_reported_once_per_period():
    rounds = [{Lane.HIGH: number, Lane.LOW: UNCHANGED} for number in range(70)]
    assert starved_lanes(Aging(PERIOD), rounds) == [(20, Lane.LOW), (40, Lane.LOW), (60, Lane.LOW)]


def test_all_starved_lanes_are_reported_highest_first():
    rounds = [
        {Lane.FIRST: number, Lane.HIGH: UNCHANGED, Lane.NORMAL: UNCHANGED, Lane.LOW: UNCHANGED} for number in range(21)
    ]
    assert [lane for _, lane in starved_lanes(Aging(PERIOD), rounds)] == [Lane.HIGH, Lane.NORMAL, Lane.LOW]


def test_the_lanes_first_and_alone_are_never_starved():
    rounds = [{Lane.FIRST: UNCHANGED, Lane.NORMAL: number, Lane.ALONE: UNCHANGED} for number in range(70)]
    assert starved_lanes(Aging(PERIOD), rounds) == []


def test_without_workers_nothing_is_starved():
    assert starved_lanes(Aging(PERIOD), [{Lane.HIGH: UNCHANGED, Lane.LOW: UNCHANGED}] * 70) == []


def test_service_in_a_lower_lane_does_not_make_a_lane_starved():
    assert starved_lanes(Aging(PERIOD), [{Lane.HIGH: UNCHANGED, Lane.LOW: number} for number in range(70)]) == []


def test_a_lane_that_is_served_is_not_starved():
    rounds = [{Lane.HIGH: number, Lane.LOW: number // 15} for number in range(70)]
    assert starved_lanes(Aging(PERIOD), rounds) == []


def test_a_first_message_in_a_higher_lane_does_not_count_as_service():
    rounds = [{Lane.HIGH: UNCHANGED if number > 5 else None, Lane.LOW: UNCHANGED} for number in range(30)]
    assert starved_lanes(Aging(PERIOD), rounds) == []


def test_a_lane_is_not_starved_once_the_higher_lane_stalls_too():
    rounds = [{Lane.HIGH: min(number, 10), Lane.LOW: UNCHANGED} for number in range(70)]
    assert starved_lanes(Aging(PERIOD), rounds) == [(20, Lane.LOW)]  # at 40, nothing was served for a period


def test_an_empty_lane_is_not_starved():
    assert starved_lanes(Aging(PERIOD), [{Lane.HIGH: number} for number in range(70)]) == []


@given(
    st.integers(0, 6), st.integers(0, 6), st.sampled_from([Lane.FIRST, Lane.HIGH]), st.integers(1, 3), st.integers(0, 4)
)
def test_every_message_is_served_despite_endless_work_above(
    normal: int, low: int, above: Any, served_a_round: int, standing: int
):
    """The worker always takes the oldest message of the highest lane, and `above` is never empty. A lane moves one
    message up per period (plus the round that first sees the next one), so message k moves after k + 1 of these.
    """
    aging = Aging(PERIOD)
    lists: dict[Lane, list[str]] = {lane: [] for lane in Lane}
    lists[Lane.NORMAL] = [f"normal {number}" for number in range(normal)]
    lists[Lane.LOW] = [f"low {number}" for number in range(low)]
    waiting = set(lists[Lane.NORMAL] + lists[Lane.LOW])
    moved_up: dict[str, float] = {}
    stages = {Lane.FIRST: 3, Lane.HIGH: 2}[above]  # moves of a LOW message until it is in `above`
    last, made = int(stages * (normal + low + 2) * (PERIOD + 1)), 0
    for moment in range(last + 1):
        while len(lists[above]) < served_a_round + standing:
            lists[above].append(f"endless {made}")
            made += 1
        oldest = {lane: messages[0] if messages else None for lane, messages in lists.items()}
        for lane in aging.starved(oldest, float(moment)):
            message = lists[lane].pop(0)
            moved_up.setdefault(message, moment)
            lists[Lane(lane - 1)].append(message)
        for _ in range(served_a_round):
            best = next(lane for lane in Lane if lists[lane])
            assert best <= above, "the lane above was empty"
            waiting.discard(lists[best].pop(0))
    assert not waiting
    for lane, count in ((Lane.NORMAL, normal), (Lane.LOW, low)):
        for k in range(count):
            assert moved_up[f"{lane.name.lower()} {k}"] <= (k + 1) * (PERIOD + 1)


def test_every_class_has_a_lane_to_move_up_to():
    assert [Lane(lane - 1) for lane in CLASSES] == [Lane.FIRST, Lane.HIGH, Lane.NORMAL]
