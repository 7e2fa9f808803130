"""The batching policy, for any sequence of arrivals, steps and departures."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner_worker.engine.scheduler import Scheduler
from limner_worker.generators.base import bucket_for

CAPACITY = 4


@dataclass(eq=False)
class Row:
    key: str
    steps: int
    priority: int = 1
    taken: list[int] = field(default_factory=list)


ROWS = st.lists(
    st.builds(Row, key=st.sampled_from("ab"), steps=st.integers(1, 5), priority=st.integers(0, 2)), max_size=30
)


def run(scheduler: Scheduler[Row], limit: int = 1000) -> list[list[Row]]:
    batches = []
    for turn in range(limit):
        batch = scheduler.next_batch()
        if not batch:
            return batches
        batches.append(batch)
        for row in batch:
            row.taken.append(turn)
        scheduler.remove([row for row in batch if len(row.taken) == row.steps])
    raise AssertionError("the scheduler never ran dry")


def schedule(rows: list[Row]) -> Scheduler[Row]:
    scheduler: Scheduler[Row] = Scheduler(lambda _key: CAPACITY)
    for row in rows:
        scheduler.add(row, row.priority)
    return scheduler


@given(ROWS)
def test_every_row_takes_exactly_its_steps_and_nothing_is_left(rows):
    scheduler = schedule(rows)
    run(scheduler)
    assert all(len(row.taken) == row.steps for row in rows)
    assert len(scheduler) == 0


@given(ROWS)
def test_a_batch_holds_one_key_and_never_more_rows_than_its_capacity(rows):
    for batch in run(schedule(rows)):
        assert len({row.key for row in batch}) == 1
        assert len(batch) <= CAPACITY


@given(ROWS)
def test_a_row_that_has_begun_takes_part_in_every_turn_of_its_key(rows):
    batches = run(schedule(rows))
    for row in rows:
        turns = [turn for turn, batch in enumerate(batches) if batch[0].key == row.key]
        begun = turns.index(row.taken[0])
        assert row.taken == turns[begun : begun + row.steps]


@given(ROWS)
def test_two_keys_take_turns_while_both_have_work(rows):
    keys = [batch[0].key for batch in run(schedule(rows))]
    for turn in range(len(keys) - 2):
        if len(set(keys[turn + 1 :])) == 2:
            assert keys[turn] != keys[turn + 1]


@given(ROWS)
def test_rows_of_one_key_begin_in_the_order_of_priority_then_age(rows):
    run(schedule(rows))
    for key in "ab":
        mine = [row for row in rows if row.key == key]
        expected = sorted(range(len(mine)), key=lambda i: (mine[i].priority, i))
        starts = [mine[i].taken[0] for i in expected]
        assert starts == sorted(starts)


@given(ROWS, st.data())
def test_a_dropped_row_takes_no_further_step(rows, data):
    scheduler = schedule(rows)
    dropped = [row for row in rows if data.draw(st.booleans())]
    scheduler.next_batch()
    scheduler.remove(dropped)
    run(scheduler)
    assert all(row.taken == [] for row in dropped)
    assert all(len(row.taken) == row.steps for row in rows if row not in dropped)


def test_the_smallest_bucket_that_fits_is_taken():
    assert [bucket_for(size, (1, 2, 4, 8)) for size in (1, 2, 3, 5, 8)] == [1, 2, 4, 8, 8]
    with pytest.raises(ValueError, match="no bucket"):
        bucket_for(9, (1, 2, 4, 8))
