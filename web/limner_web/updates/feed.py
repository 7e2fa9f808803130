"""Event streams of tenants. Each event is formatted once for all streams of its tenant."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from contextlib import contextmanager
from queue import Full, Queue
from threading import Lock
from typing import Any, Final

from limner_shared import metrics
from limner_shared.messaging.hints import Heard
from limner_web.limits import EVENT_BACKLOG
from limner_web.updates.listener import Listener

BULK_SECONDS: Final = 1.0
"""The shortest interval between two events of a bulk, which replace the events of its jobs."""
MAX_TRACKED_BULKS: Final = 1000
"""Bulks whose last event is remembered; above this number, those older than BULK_SECONDS are removed."""


class _Feed:
    """The streams of one tenant."""

    def __init__(self) -> None:
        self.readers: set[Queue[str]] = set()
        self._number = 0
        self._bulks: dict[str, float] = {}

    def format(self, heard: Heard) -> str | None:
        """The server-sent event for a hint; None if the hint is not sent."""
        event = self._event(heard, time.monotonic())
        if event is None:
            return None
        self._number += 1
        return f"id: {self._number}\nevent: {event[0]}\ndata: {json.dumps(event[1])}\n\n"

    def _event(self, heard: Heard, now: float) -> tuple[str, dict[str, Any]] | None:
        """The name and data of the event for a hint; None if the hint is not sent."""
        if heard.bulk_id is not None:
            if now - self._bulks.get(heard.bulk_id, 0) < BULK_SECONDS:
                return None
            self._bulks[heard.bulk_id] = now
            if len(self._bulks) > MAX_TRACKED_BULKS:
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
        listener.add(self._on_hint)

    @contextmanager
    def follow(self, tenant_id: str) -> Generator[Queue[str]]:
        """Return a queue that receives a tenant's events from now on, formatted as server-sent events."""
        self._listener.start()
        queue: Queue[str] = Queue(EVENT_BACKLOG)
        with self._lock:
            feed = self._feeds.setdefault(tenant_id, _Feed())
            feed.readers.add(queue)
        metrics.EVENT_STREAMS.inc()
        try:
            yield queue
        finally:
            metrics.EVENT_STREAMS.inc(-1)
            with self._lock:
                feed.readers.discard(queue)
                if not feed.readers:
                    self._feeds.pop(tenant_id, None)

    def _on_hint(self, heard: Heard) -> None:
        with self._lock:
            feed = self._feeds.get(heard.tenant_id)
            if feed is None or (text := feed.format(heard)) is None:
                return
            readers = list(feed.readers)
        for queue in readers:
            try:
                queue.put_nowait(text)
            except Full:
                continue
