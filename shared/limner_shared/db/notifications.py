"""Notifications through PostgreSQL (LISTEN and NOTIFY): the wake-up for where Redis is away. SQLite has none, and its
users poll.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from limner_shared.db.engine import Database, describe
from limner_shared.telemetry import get_logger
from limner_shared.threads import Supervisor

log = get_logger(__name__)

WAITING_CHANNEL: Final = "limner_waiting"
"""Jobs wait, and their submitter could not say so through Redis."""
LOOK_SECONDS: Final = 0.5
"""The longest delay until `stop` is noticed."""
RECONNECT_SECONDS: Final = 1.0


def notify_waiting(session: Session) -> None:
    """Tell all listeners, when this transaction commits, that jobs wait. Does nothing on SQLite.

    PostgreSQL commits transactions with notifications one after another, so callers use this only while Redis is away.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_notify(WAITING_CHANNEL, "")))


class WaitingListener:
    """Calls `woken` on its own thread for each notification, and after each connect, since earlier ones are lost."""

    def __init__(self, database: Database, threads: Supervisor, woken: Callable[[], object]) -> None:
        self._engine = database.sessions
        self._threads = threads
        self._woken = woken
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.listens = False
        """Whether a connection is listening now. While it is not, and always on SQLite, the caller has to poll."""

    def start(self) -> None:
        """Start the thread; on SQLite there is none."""
        if self._engine.dialect.name == "postgresql":
            self._thread = self._threads.start("notifications", self._run)

    def stop(self) -> None:
        """Stop the thread."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        dbapi: Any = self._engine.dialect.loaded_dbapi
        while not self._stopping.is_set():
            try:
                self._listen()
            except (SQLAlchemyError, dbapi.Error, OSError) as error:
                if self.listens:
                    log.warning("notifications of the database are away, connecting again", error=describe(error))
                self.listens = False
                self._stopping.wait(RECONNECT_SECONDS)
        self.listens = False

    def _listen(self) -> None:
        """Pass notifications on until the connection breaks or `stop` is called."""
        pooled = self._engine.raw_connection()
        driver: Any = pooled.driver_connection
        pooled.detach()  # held for as long as the process runs, so it must not take a place in the pool
        with closing(driver):
            driver.autocommit = True
            driver.execute(f"LISTEN {WAITING_CHANNEL}")
            self.listens = True
            self._woken()
            while not self._stopping.is_set():
                if any(True for _ in driver.notifies(timeout=LOOK_SECONDS, stop_after=1)):
                    self._woken()
