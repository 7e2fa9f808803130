"""The queues in Redis: for each lane of a model, the number of messages and the age of the oldest."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from math import isfinite
from typing import Any, cast

from redis import Redis

from limner_shared.domain.jobs import Lane
from limner_shared.messaging.celery_app import queue_name
from limner_shared.messaging.typed_redis import pipeline


@dataclass(frozen=True, slots=True)
class QueueState:
    """The state of one lane's list; `oldest_at` is the release time of its oldest message, by the database's clock."""

    length: int
    oldest_at: float | None
    oldest_jobs: list[str]


class RedisQueues:
    """Reads the lists of Celery's messages, and moves messages that have waited long. Raises RedisError.

    The client must return bytes: a message that is not text must not block the release of a model's jobs.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def read_states(self, model: str) -> dict[Lane, QueueState]:
        """The state of every lane of a model."""
        with pipeline(self._redis) as pipe:
            for lane in Lane:
                pipe.llen(queue_name(model, lane))
                pipe.lindex(queue_name(model, lane), -1)
            answers: list[Any] = pipe.execute()
        return {lane: _queue_state(answers[2 * i], answers[2 * i + 1]) for i, lane in enumerate(Lane)}

    def move_up(self, model: str, lane: Lane, to: Lane) -> list[str]:
        """Move a lane's oldest message to the end of another lane. Returns the jobs that it names; none if a worker has
        fetched it.
        """
        raw = cast("bytes | None", self._redis.lmove(queue_name(model, lane), queue_name(model, to), "RIGHT", "LEFT"))
        return [] if raw is None else jobs_of(raw)[0]


def jobs_of(raw: bytes | str) -> tuple[list[str], float | None]:
    """Parse a message: the jobs that it names and their release time; ([], None) if Limner did not write it."""
    try:
        _, kwargs, _ = json.loads(base64.b64decode(json.loads(raw)["body"]))
        jobs, at = [str(job) for job in kwargs["jobs"]], float(kwargs["at"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return [], None
    return (jobs, at) if isfinite(at) else ([], None)


def _queue_state(length: int, oldest: bytes | None) -> QueueState:
    jobs, at = ([], None) if oldest is None else jobs_of(oldest)
    return QueueState(length, at, jobs)
