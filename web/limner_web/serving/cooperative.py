"""SQLite without blocking the event loop: calls run on threads, and writers wait for each other as greenlets."""

from __future__ import annotations

import sqlite3
import threading
from typing import Any, Final, Self, cast

from sqlalchemy import Engine, event

from limner_shared.db.sqlite_engine import BUSY_MS
from limner_web.serving.offload import OffloadPool

THREADS: Final = 8


class _WriteLock:
    """The lock of the process's writers.

    Without it, all threads could wait for SQLite's own lock in `BEGIN IMMEDIATE`, and none would be left for the
    transaction that holds it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def acquire(self) -> None:
        """Take the lock. Raises sqlite3.OperationalError after the time that SQLite itself would wait."""
        if not self._lock.acquire(timeout=BUSY_MS / 1000):
            raise sqlite3.OperationalError("database is locked")

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()


class OffLoopConnection(sqlite3.Connection):
    """Runs slow calls on threads. Holds the write lock from `BEGIN IMMEDIATE` to the end of the transaction."""

    threads: OffloadPool
    write_lock: _WriteLock
    writes = False

    def cursor(self, factory: Any = None) -> sqlite3.Cursor:
        """Return a cursor that runs its statements on threads."""
        return super().cursor(factory or OffLoopCursor)

    def begin_writing(self, cursor: sqlite3.Cursor, sql: str) -> None:
        """Begin a write transaction once no other greenlet has one."""
        self.write_lock.acquire()
        self.writes = True
        try:
            self.threads.call(sqlite3.Cursor.execute, cursor, sql)
        except BaseException:
            self._end()
            raise

    def commit(self) -> None:
        """Commit on a thread, because SQLite waits for the disk here."""
        self.threads.call(super().commit)
        self._end()

    def rollback(self) -> None:
        """Roll the transaction back."""
        try:
            self.threads.call(super().rollback)
        finally:
            self._end()

    def close(self) -> None:
        """Close the connection and release the write lock if it is held."""
        try:
            super().close()
        finally:
            self._end()

    def _end(self) -> None:
        if self.writes:
            self.writes = False
            self.write_lock.release()


class OffLoopCursor(sqlite3.Cursor):
    """Runs each statement on a thread."""

    @property
    def _connection(self) -> OffLoopConnection:
        return cast("OffLoopConnection", self.connection)

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        """Run a statement on a thread."""
        if sql == "BEGIN IMMEDIATE":
            self._connection.begin_writing(self, sql)
            return self
        return self._connection.threads.call(super().execute, sql, parameters)

    def executemany(self, sql: str, parameters: Any, /) -> Self:
        """Run a statement on a thread, once for each set of parameters."""
        return self._connection.threads.call(super().executemany, sql, parameters)

    def fetchall(self) -> list[Any]:
        """Return the remaining rows, fetched on a thread."""
        return self._connection.threads.call(super().fetchall)


def install(engine: Engine) -> None:
    """Make SQLite's connections cooperative. PostgreSQL's already are: under gevent, psycopg waits in Python."""
    if engine.dialect.name != "sqlite":
        return
    threads, write_lock = OffloadPool(THREADS), _WriteLock()

    def make(*arguments: Any, **options: Any) -> OffLoopConnection:
        connection = OffLoopConnection(*arguments, **options)
        connection.threads, connection.write_lock = threads, write_lock
        return connection

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, _arguments: Any, options: dict[str, Any]) -> None:
        options["factory"] = make
