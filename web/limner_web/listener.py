"""One Redis subscription a process, fanned out to whoever waits: long polls and event streams."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from queue import Empty, Full, Queue
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from limner_shared.events import CHANNEL

BACKLOG = 1000
"""Events that a slow reader may be behind; what comes then is lost to it, and it polls."""


class Listener:
    """Starts its thread with the first subscriber, so that a forked server process has its own."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._subscribers: set[Queue[dict[str, Any]]] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def subscribe(self) -> Generator[Queue[dict[str, Any]]]:
        """A queue of the events from now on."""
        queue: Queue[dict[str, Any]] = Queue(BACKLOG)
        with self._lock:
            self._subscribers.add(queue)
            if self._thread is None:
                self._thread = threading.Thread(target=self._listen, name="events", daemon=True)
                self._thread.start()
        try:
            yield queue
        finally:
            with self._lock:
                self._subscribers.discard(queue)

    def _listen(self) -> None:
        while True:
            try:
                with self._redis.pubsub(ignore_subscribe_messages=True) as pubsub:
                    pubsub.subscribe(CHANNEL)
                    while True:
                        message = pubsub.get_message(timeout=1)
                        if message:
                            self._tell(json.loads(str(message["data"])))
            except RedisError:
                time.sleep(1)

    def _tell(self, event: dict[str, Any]) -> None:
        with self._lock:
            subscribers = list(self._subscribers)
        for queue in subscribers:
            try:
                queue.put_nowait(event)
            except Full:
                continue


def wait_for(queue: Queue[dict[str, Any]], job_id: str, seconds: float) -> bool:
    """Whether an event of this job came within so many seconds."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        try:
            if queue.get(timeout=left).get("id") == job_id:
                return True
        except Empty:
            return False
    return False
