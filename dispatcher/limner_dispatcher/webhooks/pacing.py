"""How many deliveries may be sent to each receiver now, so that none delays another. Pure policy, without I/O.

Each receiver has a limit of concurrent deliveries, a rate and a circuit breaker. A receiver whose last delivery failed,
or that is new, gets one at a time, and all of these together at most half of the slots; so does each tenant. Of that
half, tenants have equal parts, and one is left for the next tenant, as one can name any number of dead hosts. The last
quarter of the slots is for receivers that have none in flight: a few that begin to hang cannot take everything.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from limner_shared.circuit_breaker import Breaker, BreakerState
from limner_shared.domain.webhooks import DueReceiver

FAILURES: Final = 5
"""Consecutive failures that open a receiver's circuit breaker."""
PAUSE_SECONDS: Final = 5.0
LONGEST_PAUSE_SECONDS: Final = 300.0
REMEMBERED: Final = 10_000
"""Receivers whose state is kept; beyond it, that of idle ones is forgotten."""


@dataclass(slots=True)
class _Receiver:
    tenant_id: str
    breaker: Breaker
    tokens: float
    refilled_at: float
    """When something was last due for it."""
    in_flight: int = 0
    proven: bool = False
    """Whether its last delivery succeeded."""


@dataclass(slots=True)
class _Grants:
    receivers: Counter[str] = field(default_factory=Counter[str])
    tenants: Counter[str] = field(default_factory=Counter[str])
    unproven: Counter[str] = field(default_factory=Counter[str])
    """By tenant; none is zero."""
    total: int = 0


class Pacing:
    """The receivers' states in one process. Not thread-safe."""

    def __init__(self, slots: int, concurrency: int, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`concurrency` and `rate` (deliveries a second) are the limits of each receiver."""
        self._slots = slots
        self._concurrency = concurrency
        self._rate = rate
        self._clock = clock
        self._receivers: dict[str, _Receiver] = {}
        self._last = ""

    @property
    def in_flight(self) -> int:
        """Deliveries that are being sent."""
        return sum(each.in_flight for each in self._receivers.values())

    def allocate(self, due: Sequence[DueReceiver]) -> dict[str, int]:
        """How many deliveries each of these receivers may be sent now. They take turns, and the next call goes on."""
        tenants = {each.receiver: each.tenant_id for each in due}
        names = sorted(tenants)
        first = bisect_right(names, self._last)
        order = [*names[first:], *names[:first]]
        grants = self._standing()
        start = grants.total
        self._forget(tenants)
        for name in order:
            self._refill(name, tenants[name])
        given: Counter[str] = Counter()
        progress = True
        while progress and grants.total < self._slots:
            progress = False
            for name in order:
                if grants.total < self._slots and self._may(name, given[name], grants):
                    self._grant(name, grants)
                    given[name] += 1
                    self._last, progress = name, True
        return dict(given) if grants.total > start else {}

    def is_rated(self, due: Sequence[DueReceiver]) -> bool:
        """Whether one of these receivers waits only for its rate."""
        known = [self._receivers.get(each.receiver) for each in due]
        return any(each is not None and each.tokens < 1 for each in known)

    def started(self, receiver: str, count: int) -> None:
        """Record that deliveries were begun."""
        found = self._receivers[receiver]
        found.in_flight += count
        found.tokens -= count

    def ended(self, receiver: str, *, delivered: bool) -> None:
        """Record the end of one delivery."""
        found = self._receivers[receiver]
        found.in_flight -= 1
        found.proven = delivered
        if delivered:
            found.breaker.succeeded()
        else:
            found.breaker.failed()

    def _standing(self) -> _Grants:
        grants = _Grants()
        for name, each in self._receivers.items():
            grants.receivers[name] = each.in_flight
            grants.tenants[each.tenant_id] += each.in_flight
            if each.in_flight and not each.proven:
                grants.unproven[each.tenant_id] += each.in_flight
            grants.total += each.in_flight
        return grants

    def _may(self, name: str, given: int, grants: _Grants) -> bool:
        receiver, busy = self._receivers[name], grants.receivers[name]
        one_at_a_time = not receiver.proven or receiver.breaker.state is not BreakerState.CLOSED
        half = max(1, self._slots // 2)
        return (
            receiver.breaker.state is not BreakerState.OPEN
            and busy < (1 if one_at_a_time else self._concurrency)
            and receiver.tokens - given >= 1
            and grants.tenants[receiver.tenant_id] < half
            and (receiver.proven or _may_try(receiver.tenant_id, grants.unproven, half))
            and (not busy or grants.total < self._slots - self._slots // 4)
        )

    def _grant(self, name: str, grants: _Grants) -> None:
        receiver = self._receivers[name]
        grants.receivers[name] += 1
        grants.tenants[receiver.tenant_id] += 1
        if not receiver.proven:
            grants.unproven[receiver.tenant_id] += 1
        grants.total += 1

    def _refill(self, name: str, tenant_id: str) -> None:
        now, most = self._clock(), max(1.0, self._rate)
        if name not in self._receivers:
            breaker = Breaker(FAILURES, PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, self._clock)
            self._receivers[name] = _Receiver(tenant_id, breaker, most, now)
        receiver = self._receivers[name]
        receiver.tokens = min(most, receiver.tokens + (now - receiver.refilled_at) * self._rate)
        receiver.refilled_at = now

    def _forget(self, due: Collection[str]) -> None:
        """Forget idle receivers beyond REMEMBERED, but none of those that are due. One that failed is kept only for
        as long as its circuit breaker may be open: a tenant can name any number of dead hosts.
        """
        if len(self._receivers) < REMEMBERED:
            return
        earliest = self._clock() - LONGEST_PAUSE_SECONDS
        self._receivers = {
            name: each
            for name, each in self._receivers.items()
            if name in due
            or each.in_flight
            or (each.breaker.state is not BreakerState.CLOSED and each.refilled_at > earliest)
        }


def _may_try(tenant_id: str, unproven: Counter[str], most: int) -> bool:
    """Whether a tenant may have one more delivery to unproven receivers in flight, of which there are `most`."""
    tenants = len({*unproven, tenant_id})
    return unproven.total() < most and unproven[tenant_id] < max(1, most // (tenants + 1))
