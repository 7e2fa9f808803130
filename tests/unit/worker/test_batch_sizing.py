"""Batch sizing: batches fit into memory and are no larger than is useful."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from limner_worker.engine.batch_sizing import GROW_AFTER, SAMPLES, BatchSizer

BUCKETS = (1, 2, 4, 8)


def measure(sizer: BatchSizer, seconds: dict[int, float]) -> None:
    for size, taken in seconds.items():
        for _ in range(SAMPLES):
            sizer.record_success("key", size, taken, BUCKETS)


def test_without_measurements_all_sizes_are_allowed():
    assert BatchSizer().allowed_sizes("key", BUCKETS) == [1, 2, 4, 8]


def test_sizes_that_do_not_increase_throughput_are_not_allowed():
    sizer = BatchSizer()
    measure(sizer, {1: 1.0, 2: 1.5, 4: 2.6, 8: 5.2})
    assert sizer.allowed_sizes("key", BUCKETS) == [1, 2, 4]


def test_all_sizes_are_allowed_if_larger_batches_increase_throughput():
    sizer = BatchSizer()
    measure(sizer, {1: 1.0, 2: 1.1, 4: 1.2, 8: 1.5})
    assert sizer.allowed_sizes("key", BUCKETS) == [1, 2, 4, 8]


def test_sizes_are_not_limited_before_the_largest_is_measured():
    sizer = BatchSizer()
    measure(sizer, {1: 1.0, 2: 2.0})
    assert sizer.allowed_sizes("key", BUCKETS) == [1, 2, 4, 8]


def test_running_out_of_memory_halves_the_limit_until_enough_calls_succeed():
    sizer = BatchSizer()
    sizer.record_out_of_memory("key", 8)
    assert sizer.allowed_sizes("key", BUCKETS) == [1, 2, 4]
    for _ in range(GROW_AFTER):
        sizer.record_success("key", 4, 1.0, BUCKETS)
    assert sizer.allowed_sizes("key", BUCKETS)[-1] == 8


def test_a_memory_limit_applies_to_its_key_only():
    sizer = BatchSizer()
    sizer.record_out_of_memory("large", 8)
    assert sizer.allowed_sizes("small", BUCKETS) == [1, 2, 4, 8]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("took"), st.sampled_from(BUCKETS), st.floats(0, 10)),
            st.tuples(st.just("ran_out"), st.sampled_from(BUCKETS), st.just(0.0)),
        )
    ),
    st.sets(st.sampled_from([1, 2, 3, 4, 6, 8]), min_size=1),
)
def test_at_least_one_size_is_allowed_and_all_are_from_the_card(events: list[Any], buckets: Any):
    sizer = BatchSizer()
    for what, size, seconds in events:
        if what == "took":
            sizer.record_success("key", size, seconds, tuple(buckets))
        else:
            sizer.record_out_of_memory("key", size)
        allowed = sizer.allowed_sizes("key", tuple(buckets))
        assert allowed
        assert set(allowed) <= buckets
        assert allowed == sorted(allowed)


@given(st.sets(st.sampled_from([1, 2, 3, 5, 6, 8]), min_size=2), st.integers(1, 8))
def test_a_memory_limit_is_always_lifted_again(buckets: Any, size: int):
    sizer = BatchSizer()
    sizer.record_out_of_memory("key", size)
    for _ in range(GROW_AFTER * len(buckets)):
        sizer.record_success("key", sizer.allowed_sizes("key", tuple(buckets))[-1], 1.0, tuple(buckets))
    sizer.record_success("key", max(buckets), 1.0, tuple(buckets))
    assert sizer._states["key"].limit is None
