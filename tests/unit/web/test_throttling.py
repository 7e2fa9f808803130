"""The concurrency limits of one web process, in total and per tenant."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner_shared.errors import Overloaded, TooManyRequests
from limner_shared.settings import Settings
from limner_web.http.throttling import ConcurrencyLimiter, HeldSlots

KINDS = ("requests", "streams", "bulks")


def make_limiter(**changes: Any) -> ConcurrencyLimiter:
    return ConcurrencyLimiter(Settings(require_keys=True, **changes))


def enter(limiter: ConcurrencyLimiter, tenant: str, *kinds: str) -> HeldSlots:
    slots = limiter.acquire(*kinds)
    try:
        limiter.assign_tenant(slots, tenant)
    except TooManyRequests:
        limiter.release(slots)
        raise
    return slots


@pytest.mark.parametrize("kind", KINDS)
def test_one_tenant_cannot_take_all_places(kind: str):
    full = make_limiter(max_requests=8, max_streams=8, max_bulks=8)
    for _ in range(4):
        enter(full, "greedy", kind)
    for _ in range(20):
        with pytest.raises(TooManyRequests):
            enter(full, "greedy", kind)
    for _ in range(4):
        enter(full, "other", kind)
    with pytest.raises(Overloaded):
        enter(full, "third", kind)


def test_without_keys_the_single_tenant_can_take_all_places():
    assert ConcurrencyLimiter(Settings(max_bulks=4)).shares["bulks"] == 4
    assert make_limiter(max_bulks=4).shares["bulks"] == 2
    assert make_limiter(max_bulks=1).shares["bulks"] == 1


def test_a_waiting_stream_does_not_count_as_a_request():
    one = make_limiter(max_requests=2)
    waiting = enter(one, "a", "requests", "streams")
    with pytest.raises(TooManyRequests):
        enter(one, "a", "requests")
    one.release(waiting, "requests")
    one.release(enter(one, "a", "requests"))
    assert (one.held["requests"], one.held["streams"]) == (0, 1)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sets(st.sampled_from(KINDS), min_size=1), st.booleans())))
def test_the_counts_are_correct_for_any_sequence_of_requests(requests: list[Any]):
    limiter = make_limiter(max_requests=6, max_streams=4, max_bulks=3)
    held: list[HeldSlots] = []
    for tenant, kinds, leave_first in requests:
        if leave_first and held:
            limiter.release(held.pop(0))
        with suppress(Overloaded, TooManyRequests):
            held.append(enter(limiter, tenant, *sorted(kinds)))
        for kind in KINDS:
            assert limiter.held[kind] == sum(kind in slots.kinds for slots in held) <= limiter.limits[kind]
            of_tenant = [sum(kind in p.kinds for p in held if p.tenant_id == one) for one in "abc"]
            assert max(of_tenant) <= limiter.shares[kind]
    for slots in held:
        limiter.release(slots)
    assert not +limiter.held
