"""Connections to PostgreSQL or SQLite, and the database's clock."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import URL, Engine, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Double, TypeEngine

from limner_shared import metrics, tracing
from limner_shared.db.postgresql_engine import parse, pooled_engine, session_engine, unlimited_engine
from limner_shared.db.sqlite_engine import sqlite_engine
from limner_shared.errors import ConfigurationError
from limner_shared.settings import Settings
from limner_shared.telemetry import get_logger

log = get_logger(__name__)

DATABASE_AWAY: Final = (OperationalError, InterfaceError, InternalError, PoolTimeout)
"""The errors of a database that is down, full, locked, read-only or disconnected: a retry may succeed later."""
FULL: Final = ("53100", sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE)
"""The codes of a full disk: PostgreSQL's, and SQLite's for its file and for what is shared between processes."""
FULL_SECONDS: Final = 60.0
"""How long a full disk is reported as long as no write has succeeded since."""
WHOLE_DATABASE: Final = ("08", "25006", "53", "57P")
"""SQLSTATEs of errors that affect every statement: connections, read-only, resources (a full disk), shutdown."""


class now(FunctionElement[float]):  # noqa: N801 - used like the SQL function that it is
    """The database's clock, in seconds since 1970: the only clock that leases use.

    It is read once for each statement. A clock that advances within a statement (`clock_timestamp`) prevents index
    range scans, and one that is fixed for a transaction (PostgreSQL's own `now`) is stale after a wait for a lock.
    """

    type: TypeEngine[float] = Double()
    inherit_cache = True


@compiles(now, "postgresql")
def _now_postgresql(element: now, compiler: SQLCompiler, **kw: Any) -> str:
    return "extract(epoch from statement_timestamp())::float8"


@compiles(now, "sqlite")
def _now_sqlite(element: now, compiler: SQLCompiler, **kw: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


def clock(session: Session) -> float:
    """The time by the database's clock, in seconds since 1970."""
    return session.scalars(select(now())).one()


class Database:
    """A pool of connections. All transactions use `read` or `write`."""

    def __init__(self, url: str | Engine, direct_url: str = "", *, limited: bool = True) -> None:
        """`url` may also be an engine of another kind, such as `postgresql_engine.probe_engine`.

        With `direct_url`, `url` leads to a pooler in transaction mode, and `direct_url` to the database itself.

        `limited` False is for migrations: to build an index over millions of rows takes longer than the limits allow.
        """
        self._direct: Engine | None = None
        if isinstance(url, Engine):
            self.engine = url
        else:
            self.engine, self._direct = _engines(parse(url), direct_url, limited=limited)
        self._writing = self.engine.execution_options(limner_write=True)
        self._full_at = float("-inf")

    @classmethod
    def of(cls, settings: Settings) -> Database:
        """The database of the settings, through its pooler if it has one."""
        return cls(settings.resolved_database_url, settings.database_direct_url)

    @property
    def sessions(self) -> Engine:
        """The engine for what needs a session of its own, such as LISTEN: it passes a pooler by."""
        return self._direct or self.engine

    @property
    def is_full(self) -> bool:
        """Whether the last write of this process failed lately, because the disk of the database is full."""
        return time.monotonic() - self._full_at < FULL_SECONDS

    @contextmanager
    def write(self) -> Generator[Session]:
        """A short transaction that commits at the end. On SQLite it begins IMMEDIATE: a lock fails it only there."""
        try:
            with (
                _measured("write"),
                Session(self._writing, expire_on_commit=False) as session,
                session.begin(),
            ):
                yield session
        except DBAPIError as error:
            if is_full(error):
                self._full_at = time.monotonic()
            raise
        self._full_at = float("-inf")

    @contextmanager
    def read(self) -> Generator[Session]:
        """A transaction for reads. On SQLite all its statements see one snapshot; on PostgreSQL each sees its own."""
        with _measured("read"), Session(self.engine, expire_on_commit=False) as session:
            yield session

    def dispose(self) -> None:
        """Close every idle connection."""
        self.engine.dispose()
        if self._direct is not None:
            self._direct.dispose()


def _engines(url: URL, direct_url: str, *, limited: bool) -> tuple[Engine, Engine | None]:
    """The engine of a URL, and the one that passes a pooler by, if there is one. Raises ConfigurationError."""
    if url.drivername == "sqlite":
        if direct_url:
            raise ConfigurationError("LIMNER_DATABASE_DIRECT_URL is for PostgreSQL: leave it empty for SQLite.")
        return sqlite_engine(url.database), None
    if direct_url:
        return pooled_engine(url), session_engine(parse(direct_url))
    return session_engine(url) if limited else unlimited_engine(url), None


@contextmanager
def _measured(operation: str) -> Generator[None]:
    started, failure = time.perf_counter(), None
    try:
        yield
    except SQLAlchemyError as error:
        failure = "full" if is_full(error) else "away" if is_away(error) else "statement"
        metrics.DATABASE_ERRORS.inc(operation=operation, kind=failure)
        raise
    finally:
        seconds = time.perf_counter() - started
        metrics.DATABASE_SECONDS.observe(seconds, operation=operation)
        tracing.record_call(f"database {operation}", seconds, failure)


def insert_new(session: Session, table: type[Any], *keys: str) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that skips a row whose `keys` exist already; safe with concurrent writers."""
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing(index_elements=keys)
    return sqlite.insert(table).on_conflict_do_nothing(index_elements=keys)


def is_away(error: BaseException) -> bool:
    """Whether an error affects the whole database rather than one statement: the next statement would fail as well."""
    if not isinstance(error, DATABASE_AWAY):
        return False
    state: str | None = getattr(getattr(error, "orig", None), "sqlstate", None)
    if state is not None:
        return state.startswith(WHOLE_DATABASE)
    return True  # no answer from PostgreSQL, or SQLite's only lock, disk or file


def is_full(error: BaseException) -> bool:
    """Whether an error says that the disk of the database is full."""
    cause = getattr(error, "orig", None)
    return getattr(cause, "sqlstate", None) in FULL or getattr(cause, "sqlite_errorcode", None) in FULL


def describe(error: BaseException) -> str:
    """Describe an error in one line for a log: a database's own first line, without the statement and its values."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    first = (str(cause).strip().splitlines() or [""])[0]
    return f"{type(cause).__name__}: {first}"[:200]
