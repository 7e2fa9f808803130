"""Clients of Redis for the tests, which send it more commands than the service does."""

from __future__ import annotations

from typing import Any, cast

from redis import Redis


def redis_at(url: str, **options: Any) -> Any:
    """A client of the Redis at this URL. redis-py types some of its commands in part only: here, none has a type."""
    return cast("Any", Redis).from_url(url, **options)
