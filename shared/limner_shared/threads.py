"""Supervised threads: the only place that starts one.

A unit of work that fails is handled where it fails: that item gets a reason and the loop goes on. An exception that
leaves a thread's function is a fault of the program, and a process without that thread is only half alive. So the
supervisor reports it once to `on_failure`, which lets go of what the process holds and ends it; whatever supervises the
process (Compose, Kubernetes, systemd, `limner up`) starts a new one.

Health means progress: a thread says when it begins a unit of work (`working`) and when it waits for the next (`idle`).
One that works on the same unit for longer than its limit is stalled.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from limner_shared.telemetry import get_logger

log = get_logger(__name__)

EXIT_CODE: Final = 70
"""EX_SOFTWARE of sysexits.h."""


def end_process(name: str, error: BaseException) -> None:
    """End the process at once; `os._exit`, because a hanging thread would hold up any other way."""
    log.critical("thread failed, this process ends", thread=name, error=repr(error)[:200])
    sys.stderr.flush()
    os._exit(EXIT_CODE)


@dataclass(slots=True)
class _Activity:
    name: str
    limit_seconds: float
    working_since: float | None = None


class SupervisedPool:
    """A thread pool whose tasks cannot fail unseen: an exception that leaves one goes to the supervisor."""

    def __init__(self, name: str, workers: int, report: Callable[[str, BaseException], None]) -> None:
        self._name = name
        self._report = report
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix=name)

    def submit(self, task: Callable[..., object], *args: object) -> None:
        """Run a task on one of the threads. Raises RuntimeError after `close`."""
        self._executor.submit(task, *args).add_done_callback(self._look)

    def close(self) -> None:
        """Wait until every submitted task has ended."""
        self._executor.shutdown(wait=True)

    def _look(self, future: Future[object]) -> None:
        error = future.exception()
        if error is not None:
            self._report(self._name, error)


class Supervisor:
    """Starts the threads of one process or service and knows what each is doing. Safe to use from any thread."""

    def __init__(
        self,
        on_failure: Callable[[str, BaseException], None] = end_process,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_failure` gets the thread's name and the exception, once, on the thread that failed."""
        self._on_failure = on_failure
        self._clock = clock
        self._failed = threading.Event()
        self._activities: dict[int, _Activity] = {}
        self._lock = threading.Lock()

    def start(self, name: str, run: Callable[[], Any], *, limit_seconds: float = float("inf")) -> threading.Thread:
        """Run `run` on a thread of its own; one unit of its work may last `limit_seconds`."""
        thread = threading.Thread(target=self._run, args=(name, run, limit_seconds), name=name, daemon=True)
        thread.start()
        return thread

    def pool(self, name: str, workers: int) -> SupervisedPool:
        """A supervised pool of at most `workers` threads."""
        return SupervisedPool(name, workers, self.report)

    def working(self) -> None:
        """The calling thread begins a unit of work."""
        activity = self._activities.get(threading.get_ident())
        if activity is not None:
            activity.working_since = self._clock()

    def idle(self) -> None:
        """The calling thread waits for work; waiting is never a stall."""
        activity = self._activities.get(threading.get_ident())
        if activity is not None:
            activity.working_since = None

    @property
    def failed(self) -> bool:
        """Whether a thread has failed."""
        return self._failed.is_set()

    def stalled(self) -> dict[str, float]:
        """Seconds spent on one unit of work, by name, for each thread that is beyond its limit."""
        now = self._clock()
        return {
            each.name: now - since
            for each in self._known()
            if (since := each.working_since) is not None and now - since > each.limit_seconds
        }

    def activity(self) -> dict[str, float | None]:
        """Every live thread by name: seconds spent on its present unit of work, None while it waits."""
        now = self._clock()
        return {each.name: None if (since := each.working_since) is None else now - since for each in self._known()}

    def report(self, name: str, error: BaseException) -> None:
        """Pass a failure to `on_failure`; only the first counts."""
        log.error("thread failed", thread=name, exc_info=error)
        with self._lock:
            first = not self._failed.is_set()
            self._failed.set()
        if first:
            self._on_failure(name, error)

    def _known(self) -> list[_Activity]:
        with self._lock:
            return list(self._activities.values())

    def _run(self, name: str, run: Callable[[], Any], limit_seconds: float) -> None:
        with self._lock:
            self._activities[threading.get_ident()] = _Activity(name, limit_seconds)
        try:
            run()
        except BaseException as error:  # noqa: BLE001 - whatever ends a thread must be seen
            self.report(name, error)
        finally:
            with self._lock:
                self._activities.pop(threading.get_ident(), None)
