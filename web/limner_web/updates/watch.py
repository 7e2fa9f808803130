"""Waiting for jobs to end, at no cost for each request that waits: no thread, no connection, no query.

A hint about a job wakes those who wait for it. Hints may be lost, so one query a round asks after all watched jobs of
the process together. What woke them is looked up once, by the first, for all.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy.exc import TimeoutError as PoolTimeout

from limner_shared.db import queries
from limner_shared.db.engine import DATABASE_AWAY, Database
from limner_shared.domain.views import JobView
from limner_shared.messaging.hints import Heard
from limner_shared.telemetry import get_logger
from limner_shared.threads import Supervisor
from limner_web.updates.listener import Listener

log = get_logger(__name__)

RECHECK_SECONDS: Final = 2.0
"""How long a lost hint delays those who wait."""
RECHECKED_AT_ONCE: Final = 500
HANG_UP_SECONDS: Final = 3.0
"""A client that hung up is noticed within so long."""
SHARED_SECONDS: Final = 1.0
"""Those who wait for the same job share a view that is no older."""

Look = Callable[[], JobView]


@dataclass(slots=True, eq=False)
class _Watched:
    """One job, for all who wait for it in this process."""

    job_id: str
    ended: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    watchers: int = 0
    view: JobView | None = None
    seen_at: float = 0.0

    def look(self, look: Look) -> JobView:
        """The job as it is now: a view that another request has just made, or a new one."""
        with self.lock:
            view = self.view
            if view is not None and (view.status.terminal or self._is_fresh()):
                return view
            self.ended.clear()  # before the look: a hint that comes meanwhile makes another
            self.view = view = look()
            self.seen_at = time.monotonic()
            if view.status.terminal:
                self.ended.set()
            return view

    def _is_fresh(self) -> bool:
        return not self.ended.is_set() and time.monotonic() - self.seen_at < SHARED_SECONDS


class Watches:
    """The jobs that requests of this process wait for."""

    def __init__(self, listener: Listener, database: Database, supervisor: Supervisor) -> None:
        self._listener = listener
        self._database = database
        self._supervisor = supervisor
        self._watched: dict[tuple[str, str], _Watched] = {}
        self._lock = threading.Lock()
        self._started = False
        listener.add(self._hear)

    def follow(
        self, tenant_id: str, job_id: str, seconds: float, look: Look, gone: Callable[[], bool]
    ) -> Iterator[JobView]:
        """The job now, the same again every HANG_UP_SECONDS, and last as it is when it has ended or the time is over.

        Ends early, without another look, once the client is `gone`. Raises what `look` raises.
        """
        # Requests that came together must not all look again together.
        deadline = time.monotonic() + seconds * random.uniform(0.9, 1.0)  # noqa: S311
        with self._watching(tenant_id, job_id) as watched:
            view = watched.look(look)
            while not view.status.terminal and (left := deadline - time.monotonic()) > 0 and not gone():
                yield view
                if watched.ended.wait(min(left, HANG_UP_SECONDS)) or left <= HANG_UP_SECONDS:
                    view = watched.look(look)
            yield view

    @contextmanager
    def _watching(self, tenant_id: str, job_id: str) -> Generator[_Watched]:
        self._start()
        key = (tenant_id, job_id)
        with self._lock:
            watched = self._watched.setdefault(key, _Watched(job_id))
            watched.watchers += 1
        try:
            yield watched
        finally:
            with self._lock:
                watched.watchers -= 1
                if not watched.watchers:
                    del self._watched[key]

    def _start(self) -> None:
        self._listener.start()
        with self._lock:
            if not self._started:
                self._started = True
                self._supervisor.start("recheck", self._recheck)

    def _hear(self, heard: Heard) -> None:
        watched = self._watched.get((heard.tenant_id, heard.id))
        if watched is not None and heard.state is not None and heard.state.terminal:
            watched.ended.set()

    def _recheck(self) -> None:
        while True:
            time.sleep(RECHECK_SECONDS)
            with self._lock:
                watched = [each for each in self._watched.values() if not each.ended.is_set()]
            try:
                for start in range(0, len(watched), RECHECKED_AT_ONCE):
                    self._look_for_ends(watched[start : start + RECHECKED_AT_ONCE])
            except (*DATABASE_AWAY, PoolTimeout) as error:
                log.warning("cannot ask after the jobs that are waited for", error=repr(error)[:200])

    def _look_for_ends(self, watched: list[_Watched]) -> None:
        with self._database.read() as session:
            ended = queries.ended(session, [each.job_id for each in watched])
        for each in watched:
            if each.job_id in ended:
                each.ended.set()
