"""The Redis subscription of a process, which passes each hint to the registered handlers."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Lock
from typing import Any, Final, cast

from redis import Redis
from redis.exceptions import RedisError

from limner_shared.messaging.hints import JOB_CHANNEL, JobHint, read_hint
from limner_shared.messaging.typed_redis import subscription
from limner_shared.telemetry import get_logger
from limner_shared.threads import Supervisor
from limner_web.serving.stalls import UNIT_SECONDS

log = get_logger(__name__)

RECONNECT_SECONDS: Final = 1.0
START_SECONDS: Final = 1.0
"""How long the first use waits for the subscription."""
LOGGED_EVERY: Final = 1000


class Listener:
    """Reads the hints' channel on one thread. Messages that cannot be read are skipped and counted in `skipped`."""

    def __init__(self, redis: Redis, supervisor: Supervisor) -> None:
        """`redis` must not decode responses: other programs may publish messages that are not UTF-8."""
        self._redis = redis
        self._supervisor = supervisor
        self._handlers: list[Callable[[JobHint], None]] = []
        self._lock = Lock()
        self._started = False
        self._settled = Event()
        """Set once the subscription is confirmed, or has failed: the first one that waits for hints then need not."""
        self.skipped = 0

    def add(self, handler: Callable[[JobHint], None]) -> None:
        """Register a handler, which is called with each message. It must neither block nor raise."""
        self._handlers.append(handler)

    def start(self) -> None:
        """Start the thread that listens, and wait until it does: a later hint is heard, if Redis can be reached.

        Called at the first use, so that each forked server process has its own.
        """
        with self._lock:
            if not self._started:
                self._started = True
                self._supervisor.start("events", self._listen, limit_seconds=UNIT_SECONDS)
        self._settled.wait(START_SECONDS)

    def _listen(self) -> None:
        while True:
            self._supervisor.working()
            try:
                with subscription(self._redis, confirmations=True) as pubsub:
                    pubsub.subscribe(JOB_CHANNEL)
                    while True:
                        self._supervisor.working()
                        message = cast("dict[str, Any] | None", pubsub.get_message(timeout=1))
                        if message and message["type"] == "message":
                            self._read(cast("bytes", message["data"]))
                        elif message:
                            self._settled.set()
            except RedisError:
                self._settled.set()
                self._supervisor.idle()
                time.sleep(RECONNECT_SECONDS)

    def _read(self, data: bytes) -> None:
        hint = read_hint(data)
        if hint is None:
            if self.skipped % LOGGED_EVERY == 0:
                log.warning("skipped a message that is not Limner's", channel=JOB_CHANNEL, skipped=self.skipped + 1)
            self.skipped += 1
            return
        for handler in self._handlers:
            handler(hint)
