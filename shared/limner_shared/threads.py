"""Supervised threads: every thread that lives as long as its process is started here. A pool that is used for one call
is `concurrent.futures`' own.

A unit of work that fails is handled where it fails: that item gets an error and the loop continues. An exception that
leaves a thread's function is a bug, and the process cannot work without that thread. The supervisor therefore reports
it once to `on_failure`, which hands back what the process holds and ends it; the process manager (Compose, Kubernetes,
systemd, `limner up`) starts a new one.

Health means progress: a thread reports when it begins a unit of work (`working`) and when it waits for the next
(`idle`). A thread that works on one unit for longer than its limit is stalled.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from limner_shared.process_end import LAST_SECONDS, end_process, run_for
from limner_shared.telemetry import get_logger

log = get_logger(__name__)


def slow_threads(activity: Mapping[str, float | None], seconds: float) -> list[str]:
    """The threads that have worked on one unit for longer than this, by what `Supervisor.activity` returns."""
    return sorted(name for name, busy in activity.items() if busy is not None and busy > seconds)


@dataclass(slots=True)
class _Activity:
    name: str
    limit_seconds: float
    working_since: float | None = None


class SupervisedPool:
    """A thread pool whose failures are reported: an exception that leaves a task goes to the supervisor."""

    def __init__(self, name: str, workers: int, report: Callable[[str, BaseException], None]) -> None:
        """One thread is started at once, and the others when they are needed."""
        self._name = name
        self._report = report
        self._closed = False
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix=name)
        self._executor.submit(int).result()

    def submit(self, task: Callable[..., object], *args: object) -> None:
        """Run a task on one of the threads. Raises RuntimeError after `close`."""
        try:
            self._executor.submit(self._run, task, args)
        except RuntimeError:
            # No further thread can be started. The task is queued by then, and one of the running threads takes it.
            if self._closed:
                raise

    def close(self) -> None:
        """Wait until every submitted task has ended."""
        self._closed = True
        self._executor.shutdown(wait=True)

    def _run(self, task: Callable[..., object], args: tuple[object, ...]) -> None:
        try:
            task(*args)
        except BaseException as error:  # noqa: BLE001 - every exception that leaves a task must be reported
            self._report(self._name, error)


class Supervisor:
    """Starts the threads of one process or service and tracks what each is doing. Thread-safe."""

    def __init__(
        self,
        on_failure: Callable[[str, BaseException], None] = end_process,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_failure` is called once, on the thread that failed, with its name and the exception."""
        self._on_failure = on_failure
        self._clock = clock
        self._failed = threading.Event()
        self._activities: dict[int, _Activity] = {}
        self._lock = threading.Lock()

    def start(self, name: str, run: Callable[[], Any], *, limit_seconds: float = float("inf")) -> threading.Thread:
        """Run `run` on its own thread. One unit of its work may last `limit_seconds`."""
        thread = threading.Thread(target=self._run, args=(name, run, limit_seconds), name=name, daemon=True)
        thread.start()
        return thread

    def pool(self, name: str, workers: int) -> SupervisedPool:
        """Return a supervised pool of at most `workers` threads."""
        return SupervisedPool(name, workers, self.report)

    def working(self) -> None:
        """Mark the calling thread as working on a new unit."""
        activity = self._activities.get(threading.get_ident())
        if activity is not None:
            activity.working_since = self._clock()

    def idle(self) -> None:
        """Mark the calling thread as waiting for work; waiting is never a stall."""
        activity = self._activities.get(threading.get_ident())
        if activity is not None:
            activity.working_since = None

    @property
    def failed(self) -> bool:
        """Whether a thread has failed."""
        return self._failed.is_set()

    def stalled(self) -> dict[str, float]:
        """The threads that are beyond their limits, by name, with the seconds spent on the current unit of work."""
        now = self._clock()
        return {
            each.name: now - since
            for each in self._known()
            if (since := each.working_since) is not None and now - since > each.limit_seconds
        }

    def activity(self) -> dict[str, float | None]:
        """All live threads by name, with the seconds spent on the current unit of work; None while a thread waits."""
        now = self._clock()
        return {each.name: None if (since := each.working_since) is None else now - since for each in self._known()}

    def report(self, name: str, error: BaseException) -> None:
        """Pass a failure to `on_failure`; later failures are only logged. If that fails, the process ends."""
        try:
            run_for(LAST_SECONDS, "log", lambda: log.error("thread failed", thread=name, exc_info=error))
            with self._lock:
                first = not self._failed.is_set()
                self._failed.set()
            if first:
                self._on_failure(name, error)
        except BaseException as failure:  # noqa: BLE001 - for example, no memory is left to log or hand back
            end_process(name, failure)

    def _known(self) -> list[_Activity]:
        with self._lock:
            return list(self._activities.values())

    def _run(self, name: str, run: Callable[[], Any], limit_seconds: float) -> None:
        with self._lock:
            self._activities[threading.get_ident()] = _Activity(name, limit_seconds)
        try:
            run()
        except BaseException as error:  # noqa: BLE001 - every exception that ends a thread must be reported
            self.report(name, error)
        finally:
            with self._lock:
                self._activities.pop(threading.get_ident(), None)
