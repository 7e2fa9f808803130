"""Draining: a worker that takes no new jobs, because the operator ordered it or because it ends.

The order is a row of the database (`db.accounts.pauses`), which is read with each heartbeat: it needs no Redis, and
applies until it is taken back, or the worker ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from limner_shared.db import pause_queries
from limner_shared.db.accounts import pauses
from limner_shared.db.engine import Database, describe
from limner_shared.settings import Settings
from limner_shared.telemetry import get_logger
from limner_shared.threads import Supervisor
from limner_worker.engine.job_run import JobRun
from limner_worker.runtime.admission import Admission
from limner_worker.runtime.held_jobs import HeldJobs

log = get_logger(__name__)

LOOK_SECONDS: Final = 0.2
"""The interval at which the jobs of a draining worker are looked at."""


class Draining:
    """One thread that follows the operator's order. It stops the admission, waits for the held jobs for
    `shutdown_seconds`, and passes the unfinished ones to `hand_back`.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        owner: str,
        admission: Admission,
        held: HeldJobs,
        supervisor: Supervisor,
        hand_back: Callable[[Sequence[JobRun]], None],
    ) -> None:
        self._settings = settings
        self._database = database
        self._owner = owner
        self._admission = admission
        self._held = held
        self._supervisor = supervisor
        self._hand_back = hand_back
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = self._supervisor.start("draining", self._run)

    def stop(self) -> None:
        """Take no new jobs any more: the worker ends. Its order is deleted with it."""
        self._stopping.set()
        self._admission.drain()
        if self._thread is not None:
            self._thread.join()
        try:
            with self._database.write() as session:
                pauses.end_drain(session, self._owner)
        except SQLAlchemyError as error:  # the row ends by itself after a time
            log.info("could not delete the order to drain", error=describe(error))

    def _run(self) -> None:
        while not self._stopping.wait(self._settings.heartbeat_seconds):
            if self._is_ordered():
                self._drain()

    def _is_ordered(self) -> bool:
        """Whether the operator's order is in force. While the database is away, what was known before applies."""
        try:
            with self._database.read() as session:
                return pause_queries.is_draining(session, self._owner)
        except SQLAlchemyError:
            return self._admission.draining

    def _drain(self) -> None:
        """Drain until the order is taken back or the worker ends."""
        log.info("draining: no new jobs are taken", held=len(self._held))
        self._admission.drain()
        deadline = time.monotonic() + self._settings.shutdown_seconds
        looked_at = time.monotonic()
        while not self._stopping.wait(LOOK_SECONDS):
            # More than once: a message may still arrive that was under way when the admission stopped.
            if time.monotonic() >= deadline:
                self._hand_back([job for job in self._held.all() if self._held.is_working(job)])
            if time.monotonic() - looked_at >= self._settings.heartbeat_seconds:
                looked_at = time.monotonic()
                if not self._is_ordered():
                    self._admission.take_jobs()
                    log.info("draining has ended: jobs are taken again")
                    return
