"""How many jobs waited in each minute of the last hour: the dispatcher that releases writes it, the pages show it.

The figures are in Redis only. Without it there are gaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, cast

from redis import Redis
from redis.exceptions import RedisError

KEPT_SECONDS: Final = 3900


def record(redis: Redis, minute: int, jobs: int) -> None:
    """Write how many jobs wait in this minute since 1970; a later figure of the same minute replaces it."""
    with suppress(RedisError):
        redis.set(_key(minute), jobs, ex=KEPT_SECONDS)


def read(redis: Redis, minutes: Sequence[int]) -> list[int | None]:
    """How many jobs waited in each of these minutes; None where it is not known."""
    try:
        values = cast("list[Any]", redis.mget([_key(minute) for minute in minutes]))
    except RedisError:
        return [None] * len(minutes)
    return [int(value) if value is not None and value.isdecimal() else None for value in values]


def _key(minute: int) -> str:
    return f"limner:queue_length:{minute}"
