"""Waits between two rounds, but only until a message says that there is something to release."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from redis import Redis
from redis.client import PubSub
from redis.exceptions import RedisError

from limner_shared.messaging.hints import WAKE_CHANNEL

SHORTEST_SECONDS = 0.02
"""However often the bell rings."""
LOOK_SECONDS = 0.25
"""How soon a dispatcher that is told to stop does so."""


class WakeUp:
    """Hears of new jobs through Redis; while that is away, every wait is as long as it may be."""

    def __init__(self, redis: Redis) -> None:
        """`redis` is a client that returns bytes: a message rings whatever is in it."""
        self._redis = redis
        self._pubsub: PubSub | None = None

    def wait(self, seconds: float, stopping: threading.Event) -> None:
        """Return after so many seconds, or earlier when it rings or `stopping` is set."""
        deadline = time.monotonic() + seconds
        stopping.wait(min(SHORTEST_SECONDS, seconds))
        while not stopping.is_set() and (left := deadline - time.monotonic()) > 0:
            try:
                if self._rung(min(left, LOOK_SECONDS)):
                    return
            except (RedisError, OSError):
                self._close()
                stopping.wait(min(left, LOOK_SECONDS))

    def _rung(self, seconds: float) -> bool:
        if self._pubsub is None:
            self._pubsub = self._redis.pubsub(ignore_subscribe_messages=True)
            self._pubsub.subscribe(WAKE_CHANNEL)
        rung = False
        while self._pubsub.get_message(timeout=0 if rung else seconds):
            rung = True  # also for those that came meanwhile
        return rung

    def _close(self) -> None:
        """Give the broken connection back; the next wait subscribes again."""
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            with suppress(RedisError, OSError):
                pubsub.close()
