"""Rows that fill no batch size are divided into smaller batches where that is measured to be faster, and only there."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.worker.test_scheduler import Row

from limner_worker.engine.batch_sizing import SAMPLES, BatchSizer, first_batch
from limner_worker.engine.scheduler import Scheduler

BUCKETS = (1, 2, 4, 8)
H200 = {1: 0.191, 2: 0.33, 4: 0.66, 8: 1.28}
"""FLUX on an H200: seconds of a step by batch size; those of 2 and 4 are estimates."""
SUBLINEAR = {1: 1.0, 2: 1.05, 4: 1.1, 8: 1.2}


@pytest.mark.parametrize(("rows", "first"), [(1, 1), (2, 2), (3, 2), (4, 4), (5, 4), (6, 4), (7, 7), (8, 8)])
def test_where_a_row_costs_its_time_padding_is_avoided(rows: int, first: int) -> None:
    assert first_batch(rows, BUCKETS, H200) == first


@pytest.mark.parametrize("rows", range(1, 9))
def test_where_a_larger_batch_costs_little_more_rows_are_padded(rows: int) -> None:
    assert first_batch(rows, BUCKETS, SUBLINEAR) == rows


@given(st.integers(1, 8), st.sets(st.sampled_from(BUCKETS)))
def test_sizes_that_were_not_measured_divide_nothing(rows: int, known: set[int]) -> None:
    costs = {size: H200[size] for size in known}
    first = first_batch(rows, BUCKETS, costs)
    assert first == rows or {first, next(size for size in BUCKETS if size >= rows)} <= known
    assert first_batch(rows, BUCKETS, {}) == rows


@given(st.sets(st.integers(1, 12), min_size=1), st.lists(st.floats(0.01, 10), min_size=12, max_size=12), st.data())
def test_a_division_is_never_slower_than_the_padded_batch(sizes: set[int], seconds: list[float], data: Any) -> None:
    buckets, costs = sorted(sizes), dict(enumerate(seconds, 1))
    rows = data.draw(st.integers(1, buckets[-1]))
    padded = costs[next(size for size in buckets if size >= rows)]
    spent, left = 0.0, rows
    while (first := first_batch(left, buckets, costs)) < left:
        assert first in buckets
        spent, left = spent + costs[first], left - first
    spent += costs[next(size for size in buckets if size >= left)]
    assert left == rows or spent <= padded + 1e-9


def test_the_sizer_divides_by_what_it_measured() -> None:
    sizer = BatchSizer()
    assert sizer.first_batch("key", 5, BUCKETS) == 5
    for size, taken in H200.items():
        assert sizer.first_batch("key", 5, BUCKETS) == 5
        for _ in range(SAMPLES):
            sizer.record_success("key", size, taken, BUCKETS)
    assert sizer.first_batch("key", 5, BUCKETS) == 4


def test_rows_of_other_lanes_still_fill_the_padding() -> None:
    asked: list[int] = []

    def divided(rows: Any) -> int:
        asked.append(len(rows))
        return 4

    scheduler: Scheduler[Row] = Scheduler(lambda _: BUCKETS, unpadded=divided)
    rows = [Row("a", 3, lane=0 if number < 5 else 2) for number in range(8)]
    for row in rows:
        scheduler.add(row, row.lane)
    assert len(scheduler.next_batch()) == 8
    assert asked == []
    scheduler.remove(rows[7:])
    assert scheduler.next_batch() == rows[:4]
    assert asked == [7]
