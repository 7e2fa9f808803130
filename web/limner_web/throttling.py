"""What a web process takes on: so many requests, waiting clients and bulks at a time, a share of them for each tenant,
and so many requests a minute.

A client that comes too often, or when there is no room, is told at once when to try again: that costs next to nothing,
while taking everything on would slow everybody down until nothing answers.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from flask import Flask, Response, g, request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import FixedWindowRateLimiter
from redis.exceptions import RedisError

from limner_shared.errors import Overloaded, TooManyRequests
from limner_shared.settings import Settings

ALWAYS_ANSWERED: Final = ("/healthz", "/readyz")
CHAT: Final = "/v1/chat/completions"
JOB: Final = "/api/v1/jobs/"


@dataclass(slots=True, eq=False)
class Place:
    """What one request holds: the kinds, and since its tenant is known, of whose share."""

    kinds: list[str] = field(default_factory=list[str])
    tenant_id: str | None = None


class ConcurrencyLimiter:
    """Counts what this process has in hand, by kind. Gevent switches only where something waits, so no lock."""

    def __init__(self, settings: Settings) -> None:
        self.limits = {
            "requests": settings.max_requests,
            "streams": settings.max_streams,
            "bulks": settings.max_bulks,
        }
        # Without keys there is one tenant, and its share is the whole.
        share = settings.tenant_share if settings.keys_required else 1.0
        self.shares = {kind: max(1, int(limit * share)) for kind, limit in self.limits.items()}
        self.held: Counter[str] = Counter()
        self._of_tenants: Counter[tuple[str, str]] = Counter()

    @property
    def full(self) -> list[str]:
        """The kinds of which no more is taken now."""
        return [kind for kind, limit in self.limits.items() if self.held[kind] >= limit]

    def enter(self, *kinds: str) -> Place:
        """Take one more of each kind. Raises Overloaded."""
        for kind in kinds:
            if self.held[kind] >= self.limits[kind]:
                message = f"This server has {self.held[kind]} {kind} in hand, and takes no more now."
                raise Overloaded(message, retry_after=1)
        self.held.update(kinds)
        return Place(list(kinds))

    def claim(self, place: Place, tenant_id: str) -> None:
        """Count a place in its tenant's share. Raises TooManyRequests."""
        for kind in place.kinds:
            if self._of_tenants[kind, tenant_id] >= self.shares[kind]:
                message = f"At most {self.shares[kind]} {kind} of one tenant are in hand at a time."
                raise TooManyRequests(message, limit=f"{kind}_at_once", retry_after=1)
        self._of_tenants.update((kind, tenant_id) for kind in place.kinds)
        place.tenant_id = tenant_id

    def leave(self, place: Place, *kinds: str) -> None:
        """Give back these kinds, or all that is left."""
        for kind in kinds or tuple(place.kinds):
            place.kinds.remove(kind)
            self.held[kind] -= 1
            if place.tenant_id is not None:
                self._of_tenants[kind, place.tenant_id] -= 1
                if not self._of_tenants[kind, place.tenant_id]:
                    del self._of_tenants[kind, place.tenant_id]


def install(app: Flask, gate: ConcurrencyLimiter) -> None:
    """Let every request pass the gate, and leave it when its answer is made, or sent if that takes as long."""

    def enter() -> None:
        if request.path not in ALWAYS_ANSWERED:
            g.place = gate.enter(*_kinds())

    def leave(answer: Response) -> Response:
        place: Place | None = g.pop("place", None)
        if place is not None and answer.is_streamed:
            answer.call_on_close(lambda: gate.leave(place))
        elif place is not None:
            gate.leave(place)
        return answer

    app.before_request(enter)
    app.after_request(leave)


def install_shares(app: Flask, gate: ConcurrencyLimiter) -> None:
    """Count every request in its tenant's share: to be installed after what finds out the tenant."""

    def claim() -> None:
        if "tenant_id" in g:
            gate.claim(g.place, g.tenant_id)

    app.before_request(claim)


def wait_outside(gate: ConcurrencyLimiter) -> None:
    """From here on this request only waits: what it does is done, and it holds up no other request."""
    place: Place = g.place
    if "requests" in place.kinds:
        gate.leave(place, "requests")


def _kinds() -> tuple[str, ...]:
    """What a request is, and, if it may wait after its work is done, what it will be then."""
    path = request.path
    if path == "/api/v1/bulks" and request.method == "POST":
        return ("bulks",)
    if path == "/api/v1/events" or path.endswith("/results"):
        return ("streams",)
    if path == CHAT or (path.startswith(JOB) and "wait" in request.args):
        return ("requests", "streams")
    return ("requests",)


class RequestRate:
    """Requests a minute of each tenant, counted in Redis for all web processes together; while Redis is away, for each
    process by itself.
    """

    def __init__(self, settings: Settings) -> None:
        self._shared = FixedWindowRateLimiter(
            RedisStorage(settings.redis_url, key_prefix="limner:rate", socket_timeout=1, socket_connect_timeout=1)
        )
        self._own = FixedWindowRateLimiter(MemoryStorage())

    def count(self, tenant_id: str, per_minute: int) -> None:
        """Count one request. Raises TooManyRequests with `retry_after` in seconds."""
        item = RateLimitItemPerMinute(per_minute)
        try:
            limiter, allowed = self._shared, self._shared.hit(item, tenant_id)
        except RedisError:
            limiter, allowed = self._own, self._own.hit(item, tenant_id)
        if not allowed:
            seconds = max(1, int(limiter.get_window_stats(item, tenant_id).reset_time - time.time()) + 1)
            message = f"At most {per_minute} requests a minute are answered."
            raise TooManyRequests(message, limit="requests_per_minute", retry_after=min(seconds, 60))
