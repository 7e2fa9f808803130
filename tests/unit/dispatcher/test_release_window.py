"""The size of the release window, for workers of any speed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner_dispatcher.release_window import PROBE_SECONDS, WORTH_SECONDS, ReleaseWindow

SMALLEST, LARGEST = 64, 4096
ROUNDS = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000), st.just(0) | st.floats(1e-3, 10)), max_size=50)


def make_window(size: int = 0) -> ReleaseWindow:
    return ReleaseWindow(SMALLEST, LARGEST, size)


def serve(window: ReleaseWindow, rate: float, rounds: int, pause: float = 0.5) -> None:
    """Simulate workers that claim `rate` jobs per second from an endless backlog, at the window's own intervals."""
    held, moment = 0.0, 0.0
    for _ in range(rounds):
        room = window.room(int(held), moment)
        window.fill(int(held), room, moment)
        seconds = min(pause, max(0.02, window.seconds_left))
        held = max(0.0, held + room - rate * seconds)
        moment += seconds


@given(ROUNDS)
def test_the_size_stays_within_its_bounds_and_the_room_is_what_is_missing(rounds: Any):
    window, moment = make_window(), 0.0
    for unclaimed, released, seconds in rounds:
        room = window.room(unclaimed, moment)
        assert SMALLEST <= window.size <= LARGEST
        assert room == max(0, window.size - unclaimed)
        window.fill(unclaimed, released, moment)
        assert window.seconds_left > 0
        moment += seconds


def test_the_window_doubles_each_time_the_workers_empty_it():
    window = make_window()
    sizes: list[int] = []
    for second in range(8):
        window.fill(0, window.room(0, second), second)
        sizes.append(window.size)
    assert sizes == [64, 128, 256, 512, 1024, 2048, 4096, 4096]


def test_the_window_does_not_grow_with_a_small_backlog():
    window = make_window()
    for second in range(9):
        window.room(0, second)
        window.fill(0, SMALLEST // 2 - 1, second)
    assert window.size == SMALLEST


def test_the_window_shrinks_slowly_without_claims():
    window = make_window(LARGEST)
    window.fill(LARGEST, 0, 0)
    assert window.room(LARGEST, 1) == 0
    assert window.size == LARGEST - LARGEST // 16
    for second in range(2, 200):
        window.fill(LARGEST, 0, second - 1)
        window.room(LARGEST, second)
    assert window.size == SMALLEST


@pytest.mark.parametrize("before", [SMALLEST, LARGEST])
@pytest.mark.parametrize("rate", [400, 2000, 8000])
def test_the_window_converges_to_the_target_seconds_of_work(rate: int, before: Any):
    window = make_window(before)
    serve(window, rate, 200)
    assert window.size == pytest.approx(rate * WORTH_SECONDS, rel=0.1)


@pytest.mark.parametrize(("rate", "size"), [(1, SMALLEST), (1_000_000, LARGEST)])
def test_very_slow_or_fast_workers_lead_to_the_bounds(rate: int, size: Any):
    window = make_window(512)
    serve(window, rate, 400)
    assert window.size == size


def test_the_next_round_is_due_before_the_window_is_empty():
    window = make_window()
    window.fill(0, window.room(0, 0), 0)
    assert window.seconds_left == PROBE_SECONDS
    room = window.room(32, 0.1)  # 320 per second
    window.fill(32, room, 0.1)
    assert window.seconds_left == pytest.approx((32 + room) / 2 / 320)


def test_messages_contain_several_jobs_in_a_large_window():
    assert [make_window(size).jobs_a_message for size in (64, 512, 4096)] == [8, 64, 64]
    assert ReleaseWindow(1, 1).jobs_a_message == 1
