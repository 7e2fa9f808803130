"""The window's size, for any workers that claim from it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner_dispatcher.release_window import PROBE_SECONDS, WORTH_SECONDS, Window

SMALLEST, LARGEST = 64, 4096
ROUNDS = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000), st.just(0) | st.floats(1e-3, 10)), max_size=50)


def window(size: int = 0) -> Window:
    return Window(SMALLEST, LARGEST, size)


def serve(window: Window, rate: float, rounds: int, pause: float = 0.5) -> None:
    """Workers that claim so many a second, of a backlog without end, seen in the rounds that the window asks for."""
    held, moment = 0.0, 0.0
    for _ in range(rounds):
        room = window.look(int(held), moment)
        window.fill(int(held), room, moment)
        seconds = min(pause, max(0.02, window.seconds_left))
        held = max(0.0, held + room - rate * seconds)
        moment += seconds


@given(ROUNDS)
def test_it_stays_within_its_bounds_and_gives_room_for_what_is_missing_and_no_more(rounds):
    it, moment = window(), 0.0
    for unclaimed, released, seconds in rounds:
        room = it.look(unclaimed, moment)
        assert SMALLEST <= it.size <= LARGEST
        assert room == max(0, it.size - unclaimed)
        it.fill(unclaimed, released, moment)
        assert it.seconds_left > 0
        moment += seconds


def test_it_doubles_each_time_that_the_workers_empty_it():
    it = window()
    sizes = []
    for second in range(8):
        it.fill(0, it.look(0, second), second)
        sizes.append(it.size)
    assert sizes == [64, 128, 256, 512, 1024, 2048, 4096, 4096]


def test_it_does_not_grow_where_little_waits_however_fast_that_is_claimed():
    it = window()
    for second in range(9):
        it.look(0, second)
        it.fill(0, SMALLEST // 2 - 1, second)
    assert it.size == SMALLEST


def test_it_shrinks_slowly_to_its_smallest_while_nobody_claims():
    it = window(LARGEST)
    it.fill(LARGEST, 0, 0)
    assert it.look(LARGEST, 1) == 0
    assert it.size == LARGEST - LARGEST // 16
    for second in range(2, 200):
        it.fill(LARGEST, 0, second - 1)
        it.look(LARGEST, second)
    assert it.size == SMALLEST


@pytest.mark.parametrize("before", [SMALLEST, LARGEST])
@pytest.mark.parametrize("rate", [400, 2000, 8000])
def test_it_settles_where_it_holds_as_much_of_the_workers_time_as_it_should(rate, before):
    it = window(before)
    serve(it, rate, 200)
    assert it.size == pytest.approx(rate * WORTH_SECONDS, rel=0.1)


@pytest.mark.parametrize(("rate", "size"), [(1, SMALLEST), (1_000_000, LARGEST)])
def test_workers_that_are_very_slow_or_very_fast_meet_its_bounds(rate, size):
    it = window(512)
    serve(it, rate, 400)
    assert it.size == size


def test_the_next_round_comes_before_the_workers_run_dry_and_soon_where_their_rate_is_unknown():
    it = window()
    it.fill(0, it.look(0, 0), 0)
    assert it.seconds_left == PROBE_SECONDS
    room = it.look(32, 0.1)  # 320 a second
    it.fill(32, room, 0.1)
    assert it.seconds_left == pytest.approx((32 + room) / 2 / 320)


def test_a_message_names_several_jobs_once_so_many_pass():
    assert [window(size).jobs_a_message for size in (64, 512, 4096)] == [8, 64, 64]
    assert Window(1, 1).jobs_a_message == 1
