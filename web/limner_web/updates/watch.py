"""Waits for jobs to end. A waiting request needs no thread, no connection and no queries of its own.

A hint about a job wakes the requests that wait for it. Hints may be lost, so every RECHECK_SECONDS a query checks all
watched jobs of the process together. The first request that wakes reads the job, and the others share its result.

A client whose time is over asks again at once. So a job is remembered for a while after its last request has gone: the
next one begins to wait without a query.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy.exc import TimeoutError as PoolTimeout

from limner_shared.db import queries, waiting_queries
from limner_shared.db.engine import DATABASE_AWAY, Database
from limner_shared.domain.views import JobView
from limner_shared.messaging.hints import JobHint
from limner_shared.telemetry import get_logger
from limner_shared.threads import Supervisor
from limner_web.serving.stalls import UNIT_SECONDS
from limner_web.updates.listener import Listener
from limner_web.updates.waits import HANG_UP_SECONDS, Waits

log = get_logger(__name__)

RECHECK_SECONDS: Final = 2.0
"""Interval of the check for lost hints, which is the longest time that a lost hint delays a waiting request."""
RECHECK_BATCH: Final = 500
"""Jobs in one query."""
SHARED_SECONDS: Final = 1.0
"""Requests that wait for the same job share a view up to this age."""
REMEMBERED_SECONDS: Final = 5.0
"""How long a job is remembered after the last request that waited for it."""
MOST_REMEMBERED: Final = 20_000
"""Jobs beyond which none is remembered."""

ReadView = Callable[[], JobView]


@dataclass(slots=True, eq=False)
class _Watched:
    """A job and the requests of this process that wait for it."""

    job_id: str
    ended: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    watchers: int = 0
    left_at: float = 0.0
    """When the last request ended."""
    signals: set[threading.Event] = field(default_factory=set[threading.Event])
    """The events of those requests that have one of their own."""
    view: JobView | None = None
    seen_at: float = 0.0
    checked_at: float = float("-inf")
    """When the job was last known not to have ended, unless `ended` is set."""

    def current_view(self, read: ReadView) -> JobView:
        """Return a current view of the job: one that another request has just read, or a new one."""
        with self.lock:
            view = self.view
            if view is not None and (view.status.terminal or self._is_fresh()):
                return view
            self.ended.clear()  # before the job is read, so that a hint that arrives meanwhile is not lost
            self.view = view = read()
            self.seen_at = self.checked_at = time.monotonic()
            if view.status.terminal:
                self.end()
            return view

    @contextmanager
    def signalling(self, signal: threading.Event) -> Generator[None]:
        """Have this event set at the job's end."""
        self.signals.add(signal)
        try:
            yield
        finally:
            self.signals.discard(signal)

    @property
    def is_known_to_run(self) -> bool:
        """Whether reading the job can be saved: the next check for lost hints will tell if it has ended meanwhile."""
        return not self.ended.is_set() and time.monotonic() - self.checked_at < 2 * RECHECK_SECONDS

    def end(self) -> None:
        """Wake the requests that wait for the job's end."""
        self.ended.set()
        for signal in list(self.signals):
            signal.set()

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
        self._waits = Waits(supervisor)
        listener.add(self._on_hint)

    def follow(
        self,
        tenant_id: str,
        job_id: str,
        seconds: float,
        read: ReadView,
        gone: Callable[[], bool],
        every: float = HANG_UP_SECONDS,
    ) -> Iterator[JobView]:
        """Yield the job's view at once, then after `every` seconds, and when it has ended or `seconds` have passed.

        `read` reads the job. Yields the last view once more and stops early if the client has gone. Raises what `read`
        raises.
        """
        deadline = time.monotonic() + seconds
        with self._watching(tenant_id, job_id) as watched:
            view = watched.current_view(read)
            while not view.status.terminal and (left := deadline - time.monotonic()) > 0 and not gone():
                yield view
                if watched.ended.wait(min(left, every)) or left <= every:
                    view = watched.current_view(read)
            yield view

    def await_end(
        self, tenant_id: str, job_id: str, seconds: float, read: ReadView, gone: Callable[[], bool]
    ) -> JobView:
        """The job's view once it has ended, `seconds` have passed or the client has gone.

        Raises NotFound, and what `read` raises.
        """
        with (
            self._watching(tenant_id, job_id) as watched,
            self._waits.waiting(seconds, gone) as wait,
            watched.signalling(wait.signal),
        ):
            if not watched.is_known_to_run and self._may_have_ended(tenant_id, watched):
                wait.signal.set()
            while not wait.is_over:
                if wait.until_signalled() and (view := watched.current_view(read)).status.terminal:
                    return view
            return watched.current_view(read)

    def wait_for_any(
        self,
        tenant_id: str,
        job_ids: Sequence[str],
        seconds: float,
        has_ended: Callable[[], bool],
        gone: Callable[[], bool],
    ) -> None:
        """Wait until one of these jobs has ended, `seconds` have passed or the client has gone.

        `has_ended` tells whether one has ended already; it is called once, so that no earlier hint is missed.
        """
        with ExitStack() as stack:
            wait = stack.enter_context(self._waits.waiting(seconds, gone))
            for job_id in job_ids:
                watched = stack.enter_context(self._watching(tenant_id, job_id))
                stack.enter_context(watched.signalling(wait.signal))
            if not wait.is_over and not has_ended():
                wait.until_signalled()

    def _may_have_ended(self, tenant_id: str, watched: _Watched) -> bool:
        """Whether a job has ended, or a hint says so; a hint that arrives meanwhile is not lost. Raises NotFound."""
        if watched.ended.is_set():
            return True
        asked_at = time.monotonic()
        with self._database.read() as session:
            if waiting_queries.state(session, tenant_id, watched.job_id).terminal:
                return True
        watched.checked_at = asked_at
        return False

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
                if not watched.watchers and not self._is_remembered(watched):
                    del self._watched[key]

    def _is_remembered(self, watched: _Watched) -> bool:
        """Whether to remember a job for which no request waits any longer, without its view."""
        watched.view, watched.left_at = None, time.monotonic()
        return watched.is_known_to_run and len(self._watched) < MOST_REMEMBERED

    def _start(self) -> None:
        self._listener.start()
        with self._lock:
            if not self._started:
                self._started = True
                self._supervisor.start("recheck", self._recheck, limit_seconds=UNIT_SECONDS)

    def _on_hint(self, hint: JobHint) -> None:
        watched = self._watched.get((hint.tenant_id, hint.id))
        if watched is not None and hint.state is not None and hint.state.terminal:
            watched.end()

    def _recheck(self) -> None:
        while True:
            self._supervisor.idle()
            time.sleep(RECHECK_SECONDS)
            watched = self._to_check()
            try:
                for start in range(0, len(watched), RECHECK_BATCH):
                    self._supervisor.working()
                    self._wake_ended(watched[start : start + RECHECK_BATCH])
            except (*DATABASE_AWAY, PoolTimeout) as error:
                log.warning("cannot check the watched jobs", error=repr(error)[:200])

    def _to_check(self) -> list[_Watched]:
        """The jobs that are not known to have ended, after those were forgotten for which no request came again."""
        long_ago = time.monotonic() - REMEMBERED_SECONDS
        with self._lock:
            for key, each in list(self._watched.items()):
                if not each.watchers and each.left_at < long_ago:
                    del self._watched[key]
            return [each for each in self._watched.values() if not each.ended.is_set()]

    def _wake_ended(self, watched: list[_Watched]) -> None:
        asked_at = time.monotonic()
        with self._database.read() as session:
            ended = queries.ended(session, [each.job_id for each in watched])
        for each in watched:
            if each.job_id in ended:
                each.end()
            else:
                each.checked_at = asked_at
