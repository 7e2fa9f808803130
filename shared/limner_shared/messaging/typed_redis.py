"""Typed forms of the calls whose parameters redis-py leaves without types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from redis import Redis
from redis.client import Pipeline, PubSub


def pipeline(redis: Redis, *, transaction: bool = True) -> Pipeline:
    """A pipeline, whose commands Redis executes as one transaction unless `transaction` is false."""
    return cast("Pipeline", cast("Any", redis).pipeline(transaction=transaction))


def subscription(redis: Redis, *, confirmations: bool = False) -> PubSub:
    """A subscription to channels, which returns their messages and, if asked to, the confirmations of its commands."""
    return cast("PubSub", cast("Any", redis).pubsub(ignore_subscribe_messages=not confirmations))


def publish(redis: Redis, channel: str, message: str) -> None:
    """Publish a message; on a pipeline, when that is executed."""
    cast("Any", redis).publish(channel, message)


def keys_like(redis: Redis, pattern: str) -> Iterator[str]:
    """The keys of a pattern such as `limner:*`, read in parts of about a thousand; a key may come twice."""
    return cast("Iterator[str]", cast("Any", redis).scan_iter(match=pattern, count=1000))


def server_info(redis: Redis) -> dict[str, Any]:
    """What the server says about itself."""
    return cast("dict[str, Any]", cast("Any", redis).info())
