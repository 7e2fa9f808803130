"""A model keeps its adapters for several turns, for no longer than is allowed, and for no row of a better lane."""

from __future__ import annotations

from itertools import groupby, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.worker.test_scheduler import BUCKETS, Row, run

from limner_worker.engine.batch_sizing import SAMPLES
from limner_worker.engine.model_sizes import KEPT_TURNS, ModelSizes
from limner_worker.engine.scheduler import MAX_SKIPPED_TURNS, Scheduler, Setups

TURNS = 8
LONG = 40


def schedule(rows: list[Row], turns: int = TURNS) -> Scheduler[Row]:
    """The scheduler of rows whose keys are a model and its adapters, such as `a1`, and maybe more."""
    scheduler: Scheduler[Row] = Scheduler(lambda _: BUCKETS, Setups(lambda key: tuple(str(key)[:2]), lambda _: turns))  # pyright: ignore[reportArgumentType]
    for row in rows:
        scheduler.add(row, row.lane)
    return scheduler


def keys(batches: list[list[Row]]) -> list[str]:
    return [batch[0].key for batch in batches]


def test_two_sets_of_adapters_change_every_few_turns_and_not_at_each() -> None:
    order = keys(run(schedule([Row("a1", LONG), Row("a2", LONG)])))
    assert sum(one != other for one, other in pairwise(order)) <= 2 * LONG / TURNS + 2
    assert max(len(list(turns)) for _, turns in groupby(order[:-TURNS])) <= TURNS


def test_where_a_turn_takes_long_they_change_at_each() -> None:
    order = keys(run(schedule([Row("a1", 5), Row("a2", 5)], turns=1)))
    assert order == ["a1", "a2"] * 5


def test_two_models_take_turns_whatever_their_adapters() -> None:
    order = keys(run(schedule([Row("a1", LONG), Row("b1", LONG)])))
    assert order == ["a1", "b1"] * LONG


def test_other_keys_with_the_same_adapters_take_turns_meanwhile() -> None:
    order = keys(run(schedule([Row("a1 small", LONG), Row("a1 large", LONG), Row("a2", LONG)])))
    assert order[:TURNS] == ["a1 small", "a1 large"] * (TURNS // 2)
    assert order[TURNS] == "a2"


def test_a_row_of_a_better_lane_waits_for_no_other_adapters() -> None:
    scheduler = schedule([Row("a1", LONG, lane=1), Row("a2", LONG, lane=1)])
    assert scheduler.next_batch()[0].key == "a1"
    scheduler.add(first := Row("a3", 1, lane=0), 0)
    assert scheduler.next_batch() == [first]


KINDS = ["a1", "a2", "a3", "a4", "a5", "a6", "b1"]


@given(st.lists(st.builds(Row, key=st.sampled_from(KINDS), steps=st.integers(1, 30), lane=st.integers(0, 3))))
def test_every_row_takes_its_steps_and_none_waits_beyond_the_bounds(rows: Any) -> None:
    batches = run(schedule(rows), limit=10_000)
    assert all(len(row.taken) == row.steps for row in rows)
    one_lane = [Row(row.key, row.steps) for row in rows]
    run(schedule(one_lane), limit=10_000)
    for row in one_lane:
        waits = [later - earlier for earlier, later in pairwise([-1, *row.taken])]
        assert max(waits) <= (MAX_SKIPPED_TURNS + TURNS + 2) * (len(rows) + 1)
    assert all(len({row.key for row in batch}) == 1 for batch in batches)


@given(st.lists(st.builds(Row, key=st.sampled_from(["a1", "a1 large", "b1"]), steps=st.integers(1, 5))))
def test_where_no_adapters_change_the_order_is_as_without_this_rule(rows: Any) -> None:
    plain: Scheduler[Row] = Scheduler(lambda _: BUCKETS)
    for row in rows:
        plain.add(twin := Row(row.key, row.steps, row.lane), twin.lane)
    assert keys(run(schedule(rows))) == keys(run(plain))


@pytest.mark.parametrize(("seconds", "turns"), [(None, 1), (0.01, KEPT_TURNS), (0.1, 5), (0.3, 1), (2.0, 1)])
def test_adapters_are_kept_for_half_a_second_by_the_measured_time_of_a_call(seconds: float | None, turns: int) -> None:
    sizes = ModelSizes(None)  # pyright: ignore[reportArgumentType]
    key = ("sdxl", ("ink", 1.0), "shape", False)
    if seconds is not None:
        for _ in range(SAMPLES):
            sizes._sizer.record_success(key, 1, seconds, BUCKETS)
    assert sizes.setup(key) == ("sdxl", ("ink", 1.0))
    assert sizes.turns(key) == turns
