"""Reads the events table on one thread while streams are open, so that streams miss nothing when hints are lost.

Transactions commit in another order than their ids: an id that is missing is looked for again, until no transaction can
still hold it. The position is the id up to which everything was delivered.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Final

from sqlalchemy.exc import TimeoutError as PoolTimeout

from limner_shared.db import event_queries
from limner_shared.db.engine import DATABASE_AWAY, Database
from limner_shared.domain.jobs import JobState
from limner_shared.messaging.hints import JobHint
from limner_shared.telemetry import get_logger
from limner_shared.threads import Supervisor
from limner_web.serving.stalls import UNIT_SECONDS

log = get_logger(__name__)

TAIL_SECONDS: Final = 2.0
"""The longest delay of an event whose hint was lost."""
READ_AT_ONCE: Final = 1000
MISSING_SECONDS: Final = 60.0
"""Longer than any transaction lasts; an id that is missing for this long was rolled back."""
MAX_MISSING: Final = 5000


class Tail:
    """The position in the events table, and the thread that advances it."""

    def __init__(self, database: Database, supervisor: Supervisor, deliver: Callable[[JobHint], None]) -> None:
        """`deliver` is called with each event; it must neither block nor raise."""
        self._database = database
        self._supervisor = supervisor
        self._deliver = deliver
        self._lock = threading.Lock()
        self._streams = 0
        self._started = False
        self._read: int | None = None
        self._missing: dict[int, float] = {}

    @property
    def position(self) -> int:
        """The id up to which all events were delivered; 0 before the first stream."""
        missing, read = list(self._missing), self._read or 0
        return min(missing) - 1 if missing else read

    @contextmanager
    def followed(self) -> Generator[None]:
        """Count a stream while it is open: without streams nothing is read. The first one begins at the newest event.

        While the database is away, streams have hints.
        """
        with self._lock:
            self._streams += 1
        try:
            self._start()
            yield
        finally:
            with self._lock:
                self._streams -= 1
                if not self._streams:
                    self._read, self._missing = None, {}

    def _start(self) -> None:
        with self._lock:
            with suppress(*DATABASE_AWAY, PoolTimeout):
                self._begin()
            if not self._started:
                self._started = True
                self._supervisor.start("event tail", self._run, limit_seconds=UNIT_SECONDS)

    def _run(self) -> None:
        while True:
            self._supervisor.idle()
            time.sleep(TAIL_SECONDS)
            self._supervisor.working()
            try:
                while self.advance():
                    self._supervisor.working()
            except (*DATABASE_AWAY, PoolTimeout) as error:
                log.warning("cannot read the events", error=repr(error)[:200])

    def advance(self) -> bool:
        """Deliver the next events; returns whether more are waiting."""
        with self._lock:
            read = self._begin()
            if read is None:
                return False
            with self._database.read() as session:
                # SQLite gives the id of the newest event again after its deletion.
                self._read = min(read, event_queries.newest_event(session))
                events = event_queries.events_after(session, self._read, list(self._missing), READ_AT_ONCE)
            for event in events:
                state = JobState(event.state)
                bulk = event.bulk_id
                self._deliver(
                    JobHint(
                        id=event.job_id, tenant_id=event.tenant_id, bulk_id=bulk, state=state, version=event.version
                    )
                )
            self._note([event.id for event in events])
            return len(events) >= READ_AT_ONCE

    def _begin(self) -> int | None:
        """Where to read on; None without streams. Events before it that are not committed yet are looked for."""
        if self._read is None and self._streams:
            with self._database.read() as session:
                newest = event_queries.newest_event(session)
                first = max(1, newest - READ_AT_ONCE)
                known = event_queries.event_ids(session, first)
            self._read = newest
            self._missing = dict.fromkeys(sorted(set(range(first, newest)) - known), time.monotonic())
        return self._read

    def _note(self, ids: list[int]) -> None:
        """Advance over these ids, and remember those between them that are missing."""
        moment, before, found = time.monotonic(), self._read or 0, set(ids)
        for missed in [each for each, at in self._missing.items() if moment - at > MISSING_SECONDS or each in found]:
            del self._missing[missed]
        new = sorted(each for each in ids if each > before)
        for each in new:
            for missed in range(before + 1, each)[-MAX_MISSING:]:
                self._missing[missed] = moment
            before = each
        self._read = before
        while len(self._missing) > MAX_MISSING:
            del self._missing[min(self._missing)]
