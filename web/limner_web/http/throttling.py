"""Limits how much a web process takes on: concurrent requests, streams and bulks, each tenant's share of them, and each
tenant's requests per minute.

A request over a limit is refused at once with `Retry-After`. Refusing is cheap, while accepting everything would slow
down all clients until none gets a response. Fixed limits are in `limits`.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from flask import Flask, Response, g
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import FixedWindowRateLimiter
from redis.exceptions import RedisError

from limner_shared import metrics
from limner_shared.errors import Overloaded, TooManyRequests
from limner_shared.messaging.redis_servers import connection_pool
from limner_shared.settings import Settings
from limner_web.http import route_rules

POLICY: Final = "requests_per_minute"
WITHOUT_TENANT: Final = ""
"""In whose share the requests of those count who have no key, such as readers of linked images."""
SHARED_SECONDS: Final = 1
"""Time limit of the shared counters in Redis."""


@dataclass(slots=True, eq=False)
class HeldSlots:
    """The slots that one request holds, one of each kind, and the tenant in whose share they count, if known."""

    kinds: list[str] = field(default_factory=list[str])
    tenant_id: str | None = None


class ConcurrencyLimiter:
    """Counts the slots in use in this process, by kind and tenant.

    It needs no lock: gevent switches greenlets only where one waits, and nothing here waits.
    """

    def __init__(self, settings: Settings) -> None:
        self.limits = {
            "requests": settings.max_requests,
            "streams": settings.max_streams,
            "bulks": settings.max_bulks,
        }
        # Without keys there is one tenant, whose share is the whole.
        self.tenant_share = settings.tenant_share if settings.keys_required else 1.0
        self.shares = {kind: max(1, int(limit * self.tenant_share)) for kind, limit in self.limits.items()}
        self.held: Counter[str] = Counter()
        self._held_by_tenant: Counter[tuple[str, str]] = Counter()

    @property
    def full(self) -> list[str]:
        """The kinds that have no free slot."""
        return [kind for kind, limit in self.limits.items() if self.held[kind] >= limit]

    def acquire(self, *kinds: str) -> HeldSlots:
        """Take one slot of each kind. Raises Overloaded if a kind is full."""
        for kind in kinds:
            if self.held[kind] >= self.limits[kind]:
                message = f"This server is handling {self.held[kind]} {kind}, its limit. Try again shortly."
                raise Overloaded(message, retry_after=1)
        self.held.update(kinds)
        self._measure(*kinds)
        return HeldSlots(list(kinds))

    def assign_tenant(self, slots: HeldSlots, tenant_id: str) -> None:
        """Count these slots in the tenant's share. Raises TooManyRequests if the share is used up."""
        for kind in slots.kinds:
            if self._held_by_tenant[kind, tenant_id] >= self.shares[kind]:
                message = f"A tenant may have at most {self.shares[kind]} {kind} at a time. Wait for one to end."
                raise TooManyRequests(message, limit=f"{kind}_at_once", retry_after=1)
        self._held_by_tenant.update((kind, tenant_id) for kind in slots.kinds)
        slots.tenant_id = tenant_id

    def release(self, slots: HeldSlots, *kinds: str) -> None:
        """Return the slots of these kinds, or all that are left."""
        for kind in kinds or tuple(slots.kinds):
            slots.kinds.remove(kind)
            self.held[kind] -= 1
            self._measure(kind)
            if slots.tenant_id is not None:
                self._held_by_tenant[kind, slots.tenant_id] -= 1
                if not self._held_by_tenant[kind, slots.tenant_id]:
                    del self._held_by_tenant[kind, slots.tenant_id]

    def _measure(self, *kinds: str) -> None:
        for kind in kinds:
            metrics.HTTP_SLOTS.set(self.held[kind], kind=kind)


@dataclass(frozen=True, slots=True)
class RequestQuota:
    """A tenant's requests in the current minute: the limit, how many are left, and the seconds until it ends."""

    limit: int
    remaining: int
    reset_seconds: int
    is_allowed: bool

    def headers(self) -> dict[str, str]:
        """The headers of draft-ietf-httpapi-ratelimit-headers-10: the policy, and what is left of it."""
        return {
            "RateLimit-Policy": f'"{POLICY}";q={self.limit};w=60',
            "RateLimit": f'"{POLICY}";r={self.remaining};t={self.reset_seconds}',
        }

    def require(self) -> None:
        """Raise TooManyRequests with `retry_after` in seconds if this request is over the limit."""
        if not self.is_allowed:
            message = f"This tenant may send at most {self.limit} requests a minute. Wait before you send the next."
            raise TooManyRequests(message, limit=POLICY, retry_after=self.reset_seconds)


class RequestRate:
    """Counts each tenant's requests per minute, in Redis for all web processes together.

    While Redis is unavailable, each process counts for itself.
    """

    def __init__(self, settings: Settings) -> None:
        pool = connection_pool(settings.redis_url, socket_timeout=SHARED_SECONDS, socket_connect_timeout=SHARED_SECONDS)
        self._shared = FixedWindowRateLimiter(RedisStorage("redis://", pool, key_prefix="limner:rate"))
        self._local = FixedWindowRateLimiter(MemoryStorage())

    def count(self, tenant_id: str, per_minute: int) -> RequestQuota:
        """Count one request and return what is left in this minute."""
        item = RateLimitItemPerMinute(per_minute)
        try:
            return _count(self._shared, item, tenant_id)
        except RedisError:
            return _count(self._local, item, tenant_id)


def _count(limiter: FixedWindowRateLimiter, item: RateLimitItemPerMinute, tenant_id: str) -> RequestQuota:
    is_allowed = limiter.hit(item, tenant_id)
    window = limiter.get_window_stats(item, tenant_id)
    seconds = min(60, max(1, int(window.reset_time - time.time()) + 1))
    return RequestQuota(item.amount, max(0, window.remaining), seconds, is_allowed)


def install_concurrency(app: Flask, limiter: ConcurrencyLimiter) -> None:
    """Give every request its slots, and take them back after its response is built, or sent if it is streamed."""

    def acquire() -> None:
        kinds = route_rules.of_request().slots_of_request()
        if kinds:
            g.slots = limiter.acquire(*kinds)

    def keep(response: Response) -> Response:
        # A file that the server sends itself is no stream of ours: Werkzeug never closes that response.
        if "slots" in g and response.is_streamed and not response.direct_passthrough:
            slots: HeldSlots = g.pop("slots")
            response.call_on_close(lambda: limiter.release(slots))
        return response

    def release(_error: BaseException | None) -> None:
        slots: HeldSlots | None = g.pop("slots", None)
        if slots is not None:
            limiter.release(slots)

    app.before_request(acquire)
    app.after_request(keep)
    app.teardown_request(release)  # also called if the response of a request could not be built


def install_tenant_limits(app: Flask, limiter: ConcurrencyLimiter, rate: RequestRate) -> None:
    """Check every request against its tenant's limits. Install this after `auth`, which identifies the tenant."""

    def check() -> None:
        if "tenant_id" not in g:
            if "slots" in g:
                limiter.assign_tenant(g.slots, WITHOUT_TENANT)
            return
        if g.requests_per_minute is not None:
            g.quota = rate.count(g.tenant_id, g.requests_per_minute)
            g.quota.require()
        limiter.assign_tenant(g.slots, g.tenant_id)

    def add_headers(response: Response) -> Response:
        quota: RequestQuota | None = g.get("quota")
        if quota is not None:
            response.headers.update(quota.headers())
        return response

    app.before_request(check)
    app.after_request(add_headers)


def release_request_slot(limiter: ConcurrencyLimiter) -> None:
    """Return this request's slot of kind `requests`: from here on it only waits, and holds up no other request."""
    slots: HeldSlots = g.slots
    if "requests" in slots.kinds:
        limiter.release(slots, "requests")
