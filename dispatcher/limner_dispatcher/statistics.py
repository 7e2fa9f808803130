"""Measures the queues every few seconds, on the dispatcher that releases."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from redis import Redis

from limner_shared import metrics
from limner_shared.db import pause_queries, release_queries
from limner_shared.db.engine import Database
from limner_shared.db.webhooks import deliveries
from limner_shared.domain.jobs import Lane, Priority
from limner_shared.messaging import queue_lengths

EVERY_SECONDS: Final = 5.0
RECEIVERS: Final = 256
"""Receivers of webhooks that are looked at."""
SLOW_FACTOR: Final = 20.0
"""The pause is at least this many times the duration of the last measurement, so that it takes at most 5 % of one
connection's time."""


class QueueStatistics:
    """Sets the gauges of the queues; deletes them when another dispatcher leads, so that each queue is counted once."""

    def __init__(self, database: Database, models: Sequence[str], leads: Callable[[], bool], redis: Redis) -> None:
        """`redis` keeps the length of the queues for the operator's page."""
        self._database = database
        self._redis = redis
        self._models = models
        self._leads = leads

    def measure(self) -> float:
        """Measure, and return the pause until the next measurement in seconds. Raises an unavailable database's
        errors.
        """
        started = time.monotonic()
        jobs: dict[tuple[str, ...], float] = {}
        oldest: dict[tuple[str, ...], float] = {}
        if self._leads():
            for model in self._models:
                for lane, place, queue in self._queues(model):
                    labels = (model, lane.name.lower(), place)
                    jobs[labels], oldest[labels] = queue.jobs, queue.oldest_seconds
            queue_lengths.record(self._redis, int(time.time()) // 60, int(sum(jobs.values())))
        metrics.QUEUE_JOBS.replace(jobs)
        metrics.QUEUE_OLDEST_SECONDS.replace(oldest)
        metrics.WEBHOOK_LATE_SECONDS.set(self._webhooks_late() if self._leads() else 0.0)
        return max(EVERY_SECONDS, SLOW_FACTOR * (time.monotonic() - started))

    def _webhooks_late(self) -> float:
        with self._database.read() as session:
            due, _ = deliveries.due_receivers(session, "", RECEIVERS)
        return max((each.late_seconds for each in due), default=0.0)

    def _queues(self, model: str) -> list[tuple[Lane, str, release_queries.QueueSize]]:
        with self._database.read() as session:
            paused = pause_queries.paused(session)
            released = release_queries.released_sizes(session, model)
            sizes = [(lane, "released", released.get(lane, release_queries.EMPTY)) for lane in Lane]
            for priority in Priority:
                ready, held = release_queries.backlog_sizes(session, model, priority.rank, paused)
                lane = Lane.of(priority.rank)
                sizes += [(lane, "backlog", ready), (lane, "paused", held)]
        return sizes
