"""What one web process takes on, in all and of one tenant."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner_shared.errors import Overloaded, TooManyRequests
from limner_shared.settings import Settings
from limner_web.throttling import ConcurrencyLimiter, Place

KINDS = ("requests", "streams", "bulks")


def gate(**changes: object) -> ConcurrencyLimiter:
    return ConcurrencyLimiter(Settings(require_keys=True, **changes))


def enter(gate: ConcurrencyLimiter, tenant: str, *kinds: str) -> Place:
    place = gate.enter(*kinds)
    try:
        gate.claim(place, tenant)
    except TooManyRequests:
        gate.leave(place)
        raise
    return place


@pytest.mark.parametrize("kind", KINDS)
def test_a_tenant_that_takes_all_it_can_leaves_room_for_another(kind: str):
    full = gate(max_requests=8, max_streams=8, max_bulks=8)
    for _ in range(4):
        enter(full, "greedy", kind)
    for _ in range(20):
        with pytest.raises(TooManyRequests):
            enter(full, "greedy", kind)
    for _ in range(4):
        enter(full, "other", kind)
    with pytest.raises(Overloaded):
        enter(full, "third", kind)


def test_without_keys_the_one_tenant_may_take_all():
    assert ConcurrencyLimiter(Settings(max_bulks=4)).shares["bulks"] == 4
    assert gate(max_bulks=4).shares["bulks"] == 2
    assert gate(max_bulks=1).shares["bulks"] == 1


def test_what_only_waits_is_no_request_any_more():
    one = gate(max_requests=2)
    waiting = enter(one, "a", "requests", "streams")
    with pytest.raises(TooManyRequests):
        enter(one, "a", "requests")
    one.leave(waiting, "requests")
    one.leave(enter(one, "a", "requests"))
    assert (one.held["requests"], one.held["streams"]) == (0, 1)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sets(st.sampled_from(KINDS), min_size=1), st.booleans())))
def test_whatever_comes_and_goes_the_counts_are_right(requests):
    here = gate(max_requests=6, max_streams=4, max_bulks=3)
    places: list[Place] = []
    for tenant, kinds, leaves in requests:
        if leaves and places:
            here.leave(places.pop(0))
        with suppress(Overloaded, TooManyRequests):
            places.append(enter(here, tenant, *sorted(kinds)))
        for kind in KINDS:
            assert here.held[kind] == sum(kind in place.kinds for place in places) <= here.limits[kind]
            of_tenant = [sum(kind in p.kinds for p in places if p.tenant_id == one) for one in "abc"]
            assert max(of_tenant) <= here.shares[kind]
    for place in places:
        here.leave(place)
    assert not +here.held
