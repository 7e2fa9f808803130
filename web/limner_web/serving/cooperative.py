"""SQLite that does not block the event loop: its calls run on threads, and writers wait for each other as greenlets."""

from __future__ import annotations

import sqlite3
import threading
from typing import Any, Final, Self, cast

from sqlalchemy import Engine, event

from limner_shared.db.engine import SQLITE_BUSY_MS
from limner_web.serving.offload import Threads

THREADS: Final = 8


class _Turn:
    """The right to write within this process. Without it all threads could wait for SQLite's lock in `BEGIN IMMEDIATE`,
    and none be left for the transaction that holds it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def take(self) -> None:
        """Wait for it. Raises sqlite3.OperationalError after as long as SQLite itself would wait."""
        if not self._lock.acquire(timeout=SQLITE_BUSY_MS / 1000):
            raise sqlite3.OperationalError("database is locked")

    def give_back(self) -> None:
        """The transaction has ended."""
        self._lock.release()


class OffLoopConnection(sqlite3.Connection):
    """Runs what may take long on threads. Holds its turn from `BEGIN IMMEDIATE` to the transaction's end."""

    threads: Threads
    turn: _Turn
    writes = False

    def cursor(self, factory: Any = None) -> sqlite3.Cursor:
        """A cursor that runs its statements on threads."""
        return super().cursor(factory or OffLoopCursor)

    def begin_writing(self, cursor: sqlite3.Cursor, sql: str) -> None:
        """Begin once no other greenlet writes."""
        self.turn.take()
        self.writes = True
        try:
            self.threads.call(sqlite3.Cursor.execute, cursor, sql)
        except BaseException:
            self._end()
            raise

    def commit(self) -> None:
        """What SQLite writes to the disk here takes long."""
        self.threads.call(super().commit)
        self._end()

    def rollback(self) -> None:
        """End the transaction without its changes."""
        try:
            self.threads.call(super().rollback)
        finally:
            self._end()

    def close(self) -> None:
        """Close, and with it end whatever was begun."""
        try:
            super().close()
        finally:
            self._end()

    def _end(self) -> None:
        if self.writes:
            self.writes = False
            self.turn.give_back()


class OffLoopCursor(sqlite3.Cursor):
    """Runs each statement on a thread."""

    @property
    def _whole(self) -> OffLoopConnection:
        return cast("OffLoopConnection", self.connection)

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        """Run a statement."""
        if sql == "BEGIN IMMEDIATE":
            self._whole.begin_writing(self, sql)
            return self
        return self._whole.threads.call(super().execute, sql, parameters)

    def executemany(self, sql: str, parameters: Any, /) -> Self:
        """Run a statement once for each set of parameters."""
        return self._whole.threads.call(super().executemany, sql, parameters)

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        return self._whole.threads.call(super().fetchall)


def install(engine: Engine) -> None:
    """Make an engine's connections cooperative. PostgreSQL's are already: psycopg waits in Python under gevent."""
    if engine.dialect.name != "sqlite":
        return
    threads, turn = Threads(THREADS), _Turn()

    def make(*arguments: Any, **options: Any) -> OffLoopConnection:
        made = OffLoopConnection(*arguments, **options)
        made.threads, made.turn = threads, turn
        return made

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, _arguments: Any, options: dict[str, Any]) -> None:
        options["factory"] = make
