"""What a web process takes on: so many requests, streams and bulks at a time, and of each tenant so many a minute.

Who comes too often, or when there is no room, is told at once when to try again: that costs next to nothing, while
taking everything on would slow everybody down until nothing answers.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Final

from flask import Flask, Response, g, request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import FixedWindowRateLimiter
from redis.exceptions import RedisError

from limner_shared.errors import Overloaded, TooManyRequests
from limner_shared.settings import Settings

ALWAYS_ANSWERED: Final = ("/healthz", "/readyz")


class Gate:
    """Counts what this process has in hand, by kind. Gevent switches only where something waits, so no lock."""

    def __init__(self, settings: Settings) -> None:
        self.limits = {
            "requests": settings.max_requests,
            "streams": settings.max_streams,
            "bulks": settings.max_bulks,
        }
        self.held: Counter[str] = Counter()

    @property
    def full(self) -> list[str]:
        """The kinds of which no more is taken now."""
        return [kind for kind, limit in self.limits.items() if self.held[kind] >= limit]

    def enter(self, kind: str) -> None:
        """Take one more. Raises Overloaded."""
        if self.held[kind] >= self.limits[kind]:
            raise Overloaded(f"This server has {self.held[kind]} {kind} in hand, and takes no more now.", retry_after=1)
        self.held[kind] += 1

    def leave(self, kind: str) -> None:
        """One is done."""
        self.held[kind] -= 1


def install(app: Flask, gate: Gate) -> None:
    """Let every request pass the gate, and leave it when its answer is made, or sent if that takes as long."""

    def enter() -> None:
        if request.path in ALWAYS_ANSWERED:
            return
        kind = _kind()
        gate.enter(kind)
        g.held = kind

    def leave(answer: Response) -> Response:
        kind = g.pop("held", None)
        if kind is not None and answer.is_streamed:
            answer.call_on_close(lambda: gate.leave(kind))
        elif kind is not None:
            gate.leave(kind)
        return answer

    app.before_request(enter)
    app.after_request(leave)


def _kind() -> str:
    if request.method == "POST" and request.path == "/api/v1/bulks":
        return "bulks"
    is_stream = request.path == "/api/v1/events" or request.path.endswith("/results") or "wait" in request.args
    return "streams" if is_stream else "requests"


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
