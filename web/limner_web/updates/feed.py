"""What tenants' event streams send: each event is written once for all streams of its tenant."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from contextlib import contextmanager
from queue import Full, Queue
from threading import Lock
from typing import Any, Final

from limner_shared.messaging.hints import Heard
from limner_web.updates.listener import Listener

BACKLOG: Final = 1000
"""Events that a slow reader may be behind; what comes then is lost to it, and it polls."""
BULK_SECONDS: Final = 1.0
"""A bulk is told of so often, not once for each of its jobs."""
BULKS_REMEMBERED: Final = 1000


class _Feed:
    """One tenant's streams."""

    def __init__(self) -> None:
        self.readers: set[Queue[str]] = set()
        self._number = 0
        self._bulks: dict[str, float] = {}

    def write(self, heard: Heard) -> str | None:
        """The event as it is sent; None for one that is not told."""
        told = self._told(heard, time.monotonic())
        if told is None:
            return None
        self._number += 1
        return f"id: {self._number}\nevent: {told[0]}\ndata: {json.dumps(told[1])}\n\n"

    def _told(self, heard: Heard, now: float) -> tuple[str, dict[str, Any]] | None:
        """The event's name and data."""
        if heard.bulk_id is not None:
            if now - self._bulks.get(heard.bulk_id, 0) < BULK_SECONDS:
                return None
            self._bulks[heard.bulk_id] = now
            if len(self._bulks) > BULKS_REMEMBERED:
                self._bulks = {bulk: at for bulk, at in self._bulks.items() if now - at < BULK_SECONDS}
            return "bulk", {"id": heard.bulk_id}
        if heard.progress is not None:
            return "progress", {
                "id": heard.id,
                "progress": {"done": heard.progress.done, "total": heard.progress.total},
            }
        return "job", {"id": heard.id, "status": heard.state, "version": heard.version}


class Feeds:
    """The event streams of this process, by tenant."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._feeds: dict[str, _Feed] = {}
        self._lock = Lock()
        listener.add(self._hear)

    @contextmanager
    def follow(self, tenant_id: str) -> Generator[Queue[str]]:
        """A queue of a tenant's events from now on, each as its stream sends it."""
        self._listener.start()
        queue: Queue[str] = Queue(BACKLOG)
        with self._lock:
            feed = self._feeds.setdefault(tenant_id, _Feed())
            feed.readers.add(queue)
        try:
            yield queue
        finally:
            with self._lock:
                feed.readers.discard(queue)
                if not feed.readers:
                    self._feeds.pop(tenant_id, None)

    def _hear(self, heard: Heard) -> None:
        with self._lock:
            feed = self._feeds.get(heard.tenant_id)
            if feed is None or (text := feed.write(heard)) is None:
                return
            readers = list(feed.readers)
        for queue in readers:
            try:
                queue.put_nowait(text)
            except Full:
                continue
