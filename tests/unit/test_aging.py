"""Which lanes are starved, and that nobody waits for ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from limner_dispatcher.aging import CLASSES, Aging
from limner_shared.domain.jobs import Lane

PERIOD = 20.0
STILL = "the same message"


def told(aging: Aging, rounds: list[dict[Lane, object]], seconds: float = 1.0) -> list[tuple[float, Lane]]:
    """When each lane is said to be starved, in rounds so many seconds apart."""
    found = []
    for number, oldest in enumerate(rounds):
        moment = number * seconds
        found += [(moment, lane) for lane in aging.starved({lane: oldest.get(lane) for lane in Lane}, moment)]
    return found


def test_a_lane_that_stands_still_while_one_above_is_served_is_told_once_in_a_period():
    rounds = [{Lane.HIGH: number, Lane.LOW: STILL} for number in range(70)]
    assert told(Aging(PERIOD), rounds) == [(20, Lane.LOW), (40, Lane.LOW), (60, Lane.LOW)]


def test_each_starved_lane_is_told_and_the_best_first():
    rounds = [{Lane.FIRST: number, Lane.HIGH: STILL, Lane.NORMAL: STILL, Lane.LOW: STILL} for number in range(21)]
    assert [lane for _, lane in told(Aging(PERIOD), rounds)] == [Lane.HIGH, Lane.NORMAL, Lane.LOW]


def test_the_first_lane_and_that_of_jobs_alone_are_never_moved():
    rounds = [{Lane.FIRST: STILL, Lane.NORMAL: number, Lane.ALONE: STILL} for number in range(70)]
    assert told(Aging(PERIOD), rounds) == []


def test_without_workers_nothing_is_starved():
    assert told(Aging(PERIOD), [{Lane.HIGH: STILL, Lane.LOW: STILL}] * 70) == []


def test_what_is_served_below_does_not_make_a_lane_starved():
    assert told(Aging(PERIOD), [{Lane.HIGH: STILL, Lane.LOW: number} for number in range(70)]) == []


def test_a_lane_that_moves_itself_is_not_starved():
    rounds = [{Lane.HIGH: number, Lane.LOW: number // 15} for number in range(70)]
    assert told(Aging(PERIOD), rounds) == []


def test_a_message_that_came_into_an_empty_lane_above_does_not_count_as_served():
    rounds = [{Lane.HIGH: STILL if number > 5 else None, Lane.LOW: STILL} for number in range(30)]
    assert told(Aging(PERIOD), rounds) == []


def test_once_the_lane_above_stands_still_too_nothing_more_is_moved():
    rounds = [{Lane.HIGH: min(number, 10), Lane.LOW: STILL} for number in range(70)]
    assert told(Aging(PERIOD), rounds) == [(20, Lane.LOW)]  # at 40, nothing was served for a period


def test_an_empty_lane_is_not_starved():
    assert told(Aging(PERIOD), [{Lane.HIGH: number} for number in range(70)]) == []


@given(
    st.integers(0, 6), st.integers(0, 6), st.sampled_from([Lane.FIRST, Lane.HIGH]), st.integers(1, 3), st.integers(0, 4)
)
def test_nobody_starves_under_endless_work_above(normal, low, above, served_a_round, standing):
    """A worker takes strictly the best lane's oldest; `above` never runs dry. A lane moves one message up in a period
    (and a round, in which the next one is first seen), so that message k has left its lane after k + 1 of these.
    """
    aging = Aging(PERIOD)
    lists: dict[Lane, list[str]] = {lane: [] for lane in Lane}
    lists[Lane.NORMAL] = [f"normal {number}" for number in range(normal)]
    lists[Lane.LOW] = [f"low {number}" for number in range(low)]
    waiting = set(lists[Lane.NORMAL] + lists[Lane.LOW])
    moved_up: dict[str, float] = {}
    stages = {Lane.FIRST: 3, Lane.HIGH: 2}[above]  # how often a message of LOW moves until it is where the work is
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
            assert best <= above, "the work above ran dry"
            waiting.discard(lists[best].pop(0))
    assert not waiting
    for lane, count in ((Lane.NORMAL, normal), (Lane.LOW, low)):
        for k in range(count):
            assert moved_up[f"{lane.name.lower()} {k}"] <= (k + 1) * (PERIOD + 1)


def test_every_class_has_a_lane_to_move_up_to():
    assert [Lane(lane - 1) for lane in CLASSES] == [Lane.FIRST, Lane.HIGH, Lane.NORMAL]
