"""The open jobs of A1111's clients of one key: what `progress` shows and `interrupt` cancels.

That API knows no job ids. The ids are in Redis because two web processes share them; if Redis loses them, `progress`
shows an idle service and the jobs are drawn as usual.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from contextlib import suppress
from typing import Any, Final, cast

from redis import Redis
from redis.exceptions import RedisError

from limner_shared.errors import ServiceUnavailable
from limner_shared.messaging.typed_redis import pipeline

KEEP_SECONDS: Final = 3600
MOST: Final = 100
"""Jobs that are remembered for one caller."""


def remember(redis: Redis, caller: str, job_id: str) -> None:
    """Remember a job. It stays remembered if its client hangs up: that client may still send `interrupt`."""
    key = _key(caller)
    with suppress(RedisError), pipeline(redis, transaction=False) as pipe:
        pipe.zadd(key, {job_id: time.time()})
        pipe.zremrangebyrank(key, 0, -MOST - 1)
        pipe.expire(key, KEEP_SECONDS)
        pipe.execute()


def forget(redis: Redis, caller: str, job_ids: Collection[str]) -> None:
    """Forget jobs that have ended."""
    if job_ids:
        with suppress(RedisError):
            redis.zrem(_key(caller), *job_ids)


def ids(redis: Redis, caller: str) -> list[str]:
    """The remembered jobs, the oldest first. Raises ServiceUnavailable while Redis is."""
    try:
        return cast("list[str]", cast("Any", redis).zrange(_key(caller), 0, -1))
    except RedisError as error:
        raise ServiceUnavailable("The current job is not known now. Try again shortly.", retry_after=2) from error


def _key(caller: str) -> str:
    return f"limner:a1111:jobs:{caller}"
