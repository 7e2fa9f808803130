"""Event streams of tenants. Hints bring each event at once; the events table brings those whose hints were lost."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Generator
from contextlib import contextmanager
from queue import Full, Queue
from threading import Lock
from typing import Any, Final

from limner_shared import metrics
from limner_shared.db.engine import Database
from limner_shared.messaging.hints import JobHint
from limner_shared.recent_entries import keep_newest
from limner_shared.threads import Supervisor
from limner_web.limits import EVENT_BACKLOG
from limner_web.updates.listener import Listener
from limner_web.updates.tail import Tail

BULK_SECONDS: Final = 1.0
"""The shortest interval between two events of a bulk, which replace the events of its jobs."""
MAX_TRACKED: Final = 10_000
"""Jobs of a feed whose last delivered version is remembered."""
EVERYTHING: Final = ""
"""The topic of all events of a tenant; the others are ids of jobs and bulks."""


class Stream:
    """One stream's queue of events."""

    def __init__(self) -> None:
        self.queue: Queue[JobHint] = Queue(EVENT_BACKLOG)
        self.overflowed = False
        """Whether events were dropped because the client reads slowly."""

    def put(self, hint: JobHint) -> None:
        """Queue an event, or note that there is no room."""
        try:
            self.queue.put_nowait(hint)
        except Full:
            self.overflowed = True


class _Feed:
    """The streams of one tenant, by topic: an event wakes only the streams that it concerns."""

    def __init__(self) -> None:
        self._topics: dict[str, set[Stream]] = {}
        self._versions: dict[str, int] = {}

    @property
    def is_empty(self) -> bool:
        """Whether there are no streams."""
        return not self._topics

    def add(self, stream: Stream, topics: Collection[str]) -> None:
        """Add a stream to topics."""
        for topic in topics:
            self._topics.setdefault(topic, set()).add(stream)

    def remove(self, stream: Stream, topics: Collection[str]) -> None:
        """Remove a stream from the topics that it was added to."""
        for topic in topics:
            self._topics[topic].discard(stream)
            if not self._topics[topic]:
                del self._topics[topic]

    def concerned(self, hint: JobHint) -> set[Stream]:
        """The streams that an event concerns."""
        topics = (EVERYTHING, hint.id, hint.bulk_id or EVERYTHING)
        return {stream for topic in topics for stream in self._topics.get(topic, ())}

    def is_new(self, hint: JobHint) -> bool:
        """Whether this version of the job was not delivered before: an event comes as a hint and from the table."""
        if hint.deleted:
            return True
        if hint.progress is not None:
            return True
        if self._versions.get(hint.id, 0) >= hint.version:
            return False
        keep_newest(self._versions, hint.id, hint.version, MAX_TRACKED)
        return True


class Feeds:
    """The event streams of this process, by tenant."""

    def __init__(self, listener: Listener, database: Database, supervisor: Supervisor) -> None:
        self._listener = listener
        self._feeds: dict[str, _Feed] = {}
        self._lock = Lock()
        self.tail = Tail(database, supervisor, self._deliver)
        listener.add(self._deliver)

    @contextmanager
    def follow(self, tenant_id: str, topics: Collection[str] = (EVERYTHING,)) -> Generator[Stream]:
        """Return a stream that receives a tenant's events of these topics from now on."""
        self._listener.start()
        with self.tail.followed(), self._added(tenant_id, topics) as stream:
            metrics.EVENT_STREAMS.inc()
            try:
                yield stream
            finally:
                metrics.EVENT_STREAMS.inc(-1)

    @contextmanager
    def _added(self, tenant_id: str, topics: Collection[str]) -> Generator[Stream]:
        stream = Stream()
        with self._lock:
            feed = self._feeds.setdefault(tenant_id, _Feed())
            feed.add(stream, topics)
        try:
            yield stream
        finally:
            with self._lock:
                feed.remove(stream, topics)
                if feed.is_empty:
                    self._feeds.pop(tenant_id, None)

    def _deliver(self, hint: JobHint) -> None:
        with self._lock:
            feed = self._feeds.get(hint.tenant_id)
            if feed is None or not feed.is_new(hint):
                return
            streams = feed.concerned(hint)
        for stream in streams:
            stream.put(hint)


class BulkThrottle:
    """Limits the events of bulks in one stream: at most one per BULK_SECONDS, and always one after the last change."""

    def __init__(self) -> None:
        self._sent_at: dict[str, float] = {}
        self._due: set[str] = set()

    def changed(self, bulk_id: str) -> None:
        """Note that a job of this bulk has changed."""
        self._due.add(bulk_id)

    def ready(self) -> list[str]:
        """The bulks whose events can be sent now."""
        moment = time.monotonic()
        ready = sorted(bulk for bulk in self._due if moment - self._sent_at.get(bulk, -BULK_SECONDS) >= BULK_SECONDS)
        self._due.difference_update(ready)
        self._sent_at = {bulk: at for bulk, at in self._sent_at.items() if moment - at < BULK_SECONDS}
        self._sent_at |= dict.fromkeys(ready, moment)
        return ready

    @property
    def is_waiting(self) -> bool:
        """Whether an event must be sent later."""
        return bool(self._due)


def describe(hint: JobHint) -> tuple[str, dict[str, Any]]:
    """The name and data of a job's event."""
    if hint.deleted:
        return "deleted", {"id": hint.id}
    if hint.progress is not None:
        return "progress", {"id": hint.id, "progress": {"done": hint.progress.done, "total": hint.progress.total}}
    return "job", {"id": hint.id, "status": hint.state, "version": hint.version}


def format_event(position: int, name: str, data: dict[str, Any]) -> str:
    """A server-sent event."""
    return f"id: {position}\nevent: {name}\ndata: {json.dumps(data)}\n\n"
