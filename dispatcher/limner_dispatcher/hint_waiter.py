"""The wait between two rounds; a message that there is work ends it early."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import Final

from redis import Redis
from redis.client import PubSub
from redis.exceptions import RedisError

from limner_shared.messaging.hints import WAKE_CHANNEL
from limner_shared.messaging.typed_redis import subscription

SHORTEST_SECONDS: Final = 0.02
"""The shortest wait, for any rate of messages."""
LOOK_SECONDS: Final = 0.25
"""The longest delay until `stopping` is noticed."""


class HintWaiter:
    """Waits for hints in Redis; while Redis is unavailable, every wait has its full length."""

    def __init__(self, redis: Redis, channel: str = WAKE_CHANNEL) -> None:
        """`redis` must return bytes: any message ends a wait, whatever its content."""
        self._redis = redis
        self._channel = channel
        self._pubsub: PubSub | None = None

    def wait(self, seconds: float, stopping: threading.Event) -> bool:
        """Return after `seconds`, or earlier if a message arrives or `stopping` is set; True for a message."""
        deadline = time.monotonic() + seconds
        stopping.wait(min(SHORTEST_SECONDS, seconds))
        while not stopping.is_set() and (left := deadline - time.monotonic()) > 0:
            try:
                if self._received(min(left, LOOK_SECONDS)):
                    return True
            except (RedisError, OSError):
                self._close()
                stopping.wait(min(left, LOOK_SECONDS))
        return False

    def _received(self, seconds: float) -> bool:
        if self._pubsub is None:
            self._pubsub = subscription(self._redis)
            self._pubsub.subscribe(self._channel)
        received = False
        while self._pubsub.get_message(timeout=0 if received else seconds):
            received = True  # this also consumes the messages that came meanwhile
        return received

    def _close(self) -> None:
        """Close the broken connection; the next wait subscribes again."""
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            with suppress(RedisError, OSError):
                pubsub.close()
