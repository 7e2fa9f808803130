"""The batching policy, for any sequence of added rows, steps and removed rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner_worker.engine.scheduler import MAX_SKIPPED_TURNS, TURNS_PER_STEP, Scheduler, total_width
from limner_worker.generators.base import bucket_for

BUCKETS = (1, 2, 4)
CAPACITY = max(BUCKETS)


@dataclass(eq=False)
class Row:
    key: str
    steps: int
    lane: int = 1
    width: int = 1
    taken: list[int] = field(default_factory=list[int])

    @property
    def remaining(self) -> int:
        return self.steps - len(self.taken)


ROWS = st.lists(st.builds(Row, key=st.sampled_from("ab"), steps=st.integers(1, 5), lane=st.integers(0, 3)), max_size=30)
WIDE = st.builds(
    Row, key=st.sampled_from("ab"), steps=st.integers(1, 5), lane=st.integers(0, 3), width=st.integers(1, CAPACITY)
)
"""Rows that take several places, such as those of a scene with several things."""


def run(scheduler: Scheduler[Row], limit: int = 1000) -> list[list[Row]]:
    batches: list[list[Row]] = []
    for turn in range(limit):
        batch = scheduler.next_batch()
        if not batch:
            return batches
        batches.append(batch)
        for row in batch:
            row.taken.append(turn)
        scheduler.remove([row for row in batch if len(row.taken) == row.steps])
    raise AssertionError("the scheduler still has rows")


def schedule(rows: list[Row]) -> Scheduler[Row]:
    scheduler: Scheduler[Row] = Scheduler(lambda _key: BUCKETS)
    for row in rows:
        scheduler.add(row, row.lane)
    return scheduler


@given(st.lists(WIDE, max_size=30))
def test_every_row_takes_exactly_its_steps(rows: Any):
    scheduler = schedule(rows)
    run(scheduler)
    assert all(len(row.taken) == row.steps for row in rows)
    assert len(scheduler) == 0


@given(st.lists(WIDE, max_size=30))
def test_a_batch_has_one_key_and_at_most_its_capacity(rows: Any):
    for batch in run(schedule(rows)):
        assert len({row.key for row in batch}) == 1
        assert total_width(batch) <= CAPACITY


def test_narrower_rows_take_the_places_that_the_next_row_is_too_wide_for():
    first, wide, narrow = Row("a", 1, width=3), Row("a", 2, width=2), Row("a", 9, width=1)
    assert schedule([first, wide, narrow]).next_batch() == [first, narrow]


def test_a_row_that_is_wider_than_the_largest_size_of_now_goes_alone():
    wide, narrow = Row("a", 1, width=3), Row("a", 9)
    scheduler: Scheduler[Row] = Scheduler(lambda _: (1, 2))  # a larger call ran out of memory
    for row in (wide, narrow):
        scheduler.add(row, row.lane)
    assert scheduler.next_batch() == [wide]


def test_a_narrow_row_goes_before_wide_ones_of_as_many_steps_that_arrived_shortly_before():
    wide = [Row("a", steps=4, width=CAPACITY) for _ in range(3)]
    scheduler = schedule(wide)
    scheduler.next_batch()
    narrow = Row("a", steps=4)
    scheduler.add(narrow, narrow.lane)
    assert scheduler.next_batch() == [narrow]


@given(ROWS)
def test_the_highest_lane_goes_first_and_other_lanes_only_fill_the_padding(rows: Any):
    scheduler = schedule(rows)
    left = {id(row): row for row in rows}
    for _ in range(MAX_SKIPPED_TURNS):  # no row has been skipped often enough to go first
        batch = scheduler.next_batch()
        if not batch:
            break
        best = min(row.lane for row in left.values())
        first = [row for row in batch if row.lane == best]
        waiting = [row for row in left.values() if row.lane == best and row.key == batch[0].key]
        assert first, "the highest lane was skipped"
        assert len(first) == min(len(waiting), CAPACITY)
        assert len(batch) <= bucket_for(len(first), BUCKETS)
        for row in batch:
            row.taken.append(1)
        done = [row for row in batch if len(row.taken) == row.steps]
        scheduler.remove(done)
        for row in done:
            del left[id(row)]


@settings(deadline=None)
@given(st.lists(WIDE, max_size=30), st.integers(1, 6))
def test_every_row_is_served_despite_a_flood_of_higher_lanes(rows: Any, flood: int):
    scheduler = schedule(rows)
    for key in "ab" * flood:
        scheduler.add(Row(key, 1, lane=0), 0)
    unserved = {id(row) for row in rows}
    for _ in range((MAX_SKIPPED_TURNS + 2) * (len(rows) + 1)):
        batch = scheduler.next_batch()
        unserved -= {id(row) for row in batch}
        scheduler.remove(batch)
        for row in batch:  # each removed row is replaced by a new one in the first lane
            scheduler.add(Row(row.key, 1, lane=0), 0)
    assert not unserved


@given(ROWS)
def test_two_keys_take_turns_within_a_lane(rows: Any):
    alike = [Row(row.key, row.steps) for row in rows]
    keys = [batch[0].key for batch in run(schedule(alike))]
    for turn in range(len(keys) - 2):
        if len(set(keys[turn + 1 :])) == 2:
            assert keys[turn] != keys[turn + 1]


@given(ROWS)
def test_rows_of_one_lane_and_length_start_in_order_of_arrival(rows: Any):
    run(schedule(rows))
    for key, lane, steps in {(row.key, row.lane, row.steps) for row in rows}:
        starts = [row.taken[0] for row in rows if (row.key, row.lane, row.steps) == (key, lane, steps)]
        assert starts == sorted(starts)


def test_a_short_row_goes_before_longer_rows_that_arrived_earlier():
    long = [Row("a", steps=40) for _ in range(CAPACITY)]
    scheduler = schedule(long)
    for turn in range(3):
        for row in scheduler.next_batch():
            row.taken.append(turn)
    short = Row("a", steps=4)
    scheduler.add(short, short.lane)
    assert short in scheduler.next_batch()


@pytest.mark.parametrize("steps", [1, 10, 60])
def test_a_long_row_waits_only_for_rows_that_arrive_within_twice_its_length(steps: int):
    long = Row("a", steps=steps, lane=1)
    scheduler = schedule([long])
    turn = 0
    while len(long.taken) < steps:
        for _ in range(CAPACITY):  # a full batch of new rows in every turn
            scheduler.add(Row("a", steps=1), 1)
        batch = scheduler.next_batch()
        for row in batch:
            row.taken.append(turn)
        scheduler.remove([row for row in batch if len(row.taken) == row.steps])
        turn += 1
    assert turn <= TURNS_PER_STEP * steps + steps


@given(ROWS, st.data())
def test_a_removed_row_takes_no_further_step(rows: Any, data: Any):
    scheduler = schedule(rows)
    dropped = [row for row in rows if data.draw(st.booleans())]
    scheduler.next_batch()
    scheduler.remove(dropped)
    run(scheduler)
    assert all(row.taken == [] for row in dropped)
    assert all(len(row.taken) == row.steps for row in rows if row not in dropped)


@given(ROWS, st.data())
def test_a_row_with_a_changed_key_still_takes_all_its_steps(rows: Any, data: Any):
    scheduler = schedule(rows)
    left = len(rows)
    for _ in range(1000):
        batch = scheduler.next_batch()
        if not batch:
            break
        for row in batch:
            row.taken.append(1)
            row.key = data.draw(st.sampled_from("abc"))
        done = [row for row in batch if len(row.taken) == row.steps]
        scheduler.remove(done)
        left -= len(done)
        scheduler.regroup(batch)
        assert len(scheduler) == left
        assert len({row.key for row in scheduler.next_batch()}) <= 1
    assert all(len(row.taken) == row.steps for row in rows)


def test_bucket_for_returns_the_smallest_bucket_that_fits():
    assert [bucket_for(size, (1, 2, 4, 8)) for size in (1, 2, 3, 5, 8)] == [1, 2, 4, 8, 8]
    with pytest.raises(ValueError, match="no bucket"):
        bucket_for(9, (1, 2, 4, 8))
