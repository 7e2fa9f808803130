"""Ends the orders to drain of workers that no longer run: a worker that was killed cannot delete its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from redis import Redis
from redis.exceptions import RedisError

from limner_dispatcher.leadership import Leadership
from limner_shared.db import pause_queries
from limner_shared.db.accounts import pauses
from limner_shared.db.engine import Database
from limner_shared.messaging.reports import WorkerReport, read_reports
from limner_shared.telemetry import get_logger

log = get_logger(__name__)

LOOK_SECONDS: Final = 30.0
ABSENT_SECONDS: Final = 3600.0
"""A worker without a report for this long, and without a job, is gone. Its id never comes back; a worker that is only
cut off from Redis, which may come back, has this long."""


class LostDrains:
    """Looks at the workers that drain; remembers since when each has been without a report."""

    def __init__(
        self, database: Database, leadership: Leadership, redis: Redis, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._leadership = leadership
        self._redis = redis
        self._clock = clock
        self._looked_at = float("-inf")
        self._absent_since: dict[str, float] = {}

    def end_lost_drains(self) -> None:
        """Delete the orders of workers that are gone. While Redis is away, no worker counts as gone.

        Raises NotLeading, and the errors of an unavailable database.
        """
        now = self._clock()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        with self._database.read() as session:
            silent = pause_queries.idle_draining_workers(session)
        try:
            silent -= {report.owner for report in read_reports(self._redis, WorkerReport)} if silent else set()
        except RedisError:
            silent = set[str]()
        self._absent_since = {owner: self._absent_since.get(owner, now) for owner in silent}
        for owner, since in self._absent_since.items():
            if now - since >= ABSENT_SECONDS:
                with self._leadership.write() as session:
                    pauses.end_drain(session, owner)
                log.info("the order to drain has ended with its worker", worker=owner)
