"""Connections to PostgreSQL or SQLite, the database's clock, and the migrations."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Engine, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Double, TypeEngine

from limner_shared import metrics, tracing
from limner_shared.db.postgresql_engine import SESSION_MARK, parse, pooled_engine, session_engine, unlimited_engine
from limner_shared.db.sqlite_engine import sqlite_engine
from limner_shared.errors import ConfigurationError, ServiceUnavailable
from limner_shared.settings import Settings
from limner_shared.telemetry import get_logger

log = get_logger(__name__)

SERVES_FROM_TABLE: Final = "alembic_version"
"""The table of the oldest revision whose programs the schema serves. Programs up to revision 0004 read only this table
and refuse a database where it does not name their own revision; so they keep running while a later schema serves
them."""
VERSION_TABLE: Final = "schema_revision"
"""The table of the schema's own revision, since 0005."""
IN_USE: Final = ("55P03", "40P01")
"""PostgreSQL's codes of a lock that was not available in time, and of a deadlock that it resolved by an error."""
LOCK_TRIES: Final = 60
STAYS_IN_USE: Final = (
    "The schema was not changed: a table that must be changed stays in use. End transactions that last long "
    "(`SELECT pid, xact_start, query FROM pg_stat_activity ORDER BY xact_start`), and run `limner db upgrade` again."
)
UNSUPPORTED_OPTIONS: Final = "unsupported startup parameter"
"""What PgBouncer says of options that it does not know."""
POOLED: Final = (
    "{} leads to a connection pooler: set LIMNER_DATABASE_DIRECT_URL to the URL of the database itself, which what "
    "needs a session uses."
)
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


def _config(url: str, tell: Callable[[str], object] | None = None) -> Config:
    packaged = Path(str(files("limner_shared"))) / "migrations"  # in a wheel; in a checkout they are at the top
    folder = packaged if packaged.is_dir() else Path(__file__).parents[3] / "migrations"
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.attributes["url"] = url
    config.attributes["tell"] = tell or log.info
    return config


def upgrade(url: str, revision: str = "head", tell: Callable[[str], object] | None = None) -> None:
    """Migrate the database to a revision of the schema, creating it if necessary; `tell` gets messages about waits.

    A migration is retried while a table is in use: each try blocks the table's other users for only a few seconds.
    So is one that made a deadlock with the service's transactions, which lock the same tables in another order. Raises
    ServiceUnavailable if a table stays in use.
    """
    for left in reversed(range(LOCK_TRIES)):
        try:
            command.upgrade(_config(url, tell), revision)
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) not in IN_USE:
                raise
            if not left:
                raise ServiceUnavailable(STAYS_IN_USE) from error
            (tell or log.info)("A table that must be changed is in use; retrying.")
        else:
            return


def downgrade(url: str, revision: str) -> None:
    """Migrate the schema back to an earlier revision (`base` is the empty database)."""
    command.downgrade(_config(url), revision)


def require_current(url: str, direct_url: str = "") -> None:
    """Check that this program can use the database, and supports its schema. Raises ConfigurationError that says what
    to do.
    """
    database = Database(url, direct_url)
    variable = "LIMNER_DATABASE_DIRECT_URL" if direct_url else "LIMNER_DATABASE_URL"
    try:
        _require_session(database.sessions, variable)
        current = is_current(database, url)
        newer = not current and schema_revisions(database)[0] not in {None, *known_revisions(url)}
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        if UNSUPPORTED_OPTIONS in reason:
            raise ConfigurationError(POOLED.format(variable)) from error
        raise ConfigurationError(f"The database cannot be used: {reason}; check LIMNER_DATABASE_URL.") from error
    finally:
        database.dispose()
    if newer:
        raise ConfigurationError(
            "The database's schema no longer supports this version: install a newer version of Limner."
        )
    if not current:
        raise ConfigurationError("The database does not have this version's schema: run `limner db upgrade`.")


def _require_session(engine: Engine, variable: str) -> None:
    """Raise ConfigurationError if a pooler drops what a connection gives its session."""
    if engine.dialect.name != "postgresql":
        return
    with engine.connect() as connection:
        mark = connection.scalar(text("SELECT current_setting(:name, true)"), {"name": SESSION_MARK})
    if mark != "on":
        raise ConfigurationError(POOLED.format(variable))


def is_current(database: Database, url: str) -> bool:
    """Whether this program supports the schema: its own revision, or a later one that still serves it.

    The migrations record the oldest revision whose programs are still served (`serves_from`); a program that knows that
    revision is one of them.
    """
    revision, serves_from = schema_revisions(database)
    known = known_revisions(url)
    return revision == known[0] or (revision not in known and serves_from in known)


def schema_revisions(database: Database) -> tuple[str | None, str | None]:
    """The revision of the schema, and the oldest revision whose programs it serves."""
    with database.engine.connect() as connection:
        serves_from = MigrationContext.configure(connection).get_current_revision()
        options = {"version_table": VERSION_TABLE}
        return MigrationContext.configure(connection, opts=options).get_current_revision() or serves_from, serves_from


@cache
def known_revisions(url: str) -> tuple[str, ...]:
    """The revisions that this program knows, the newest first."""
    return tuple(script.revision for script in ScriptDirectory.from_config(_config(url)).walk_revisions())
