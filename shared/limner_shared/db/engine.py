"""Connections to PostgreSQL or SQLite, the database's clock, and the migrations."""

from __future__ import annotations

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
from sqlalchemy import URL, Connection, Engine, Insert, create_engine, event, insert, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Double

from limner_shared import metrics, tracing
from limner_shared.errors import ConfigurationError
from limner_shared.telemetry import get_logger

log = get_logger(__name__)

SQLITE_BUSY_MS = 15_000

# The time limits of all connections to PostgreSQL except those of migrations. A transaction is a few short statements,
# so a longer one is stuck. Waits for locks and idle transactions are ended before a lease (9 s) is, so that a process
# that freezes in a transaction blocks others for less time than a crash would. Settings in the database's URL take
# precedence.
CONNECT_SECONDS: Final = 5
LOCK_SECONDS: Final = 4
"""How long a statement waits for a lock of another transaction."""
IDLE_SECONDS: Final = 6
"""The server ends a session that is idle in a transaction for this long: its process is frozen."""
STATEMENT_SECONDS: Final = 30
SILENT_SECONDS: Final = 15
"""A peer that acknowledges nothing for this long is gone: both sides close the connection."""
KEEPALIVE_SECONDS: Final = 5
POSTGRESQL_LIMITS: Final = {
    "lock_timeout": LOCK_SECONDS * 1000,
    "idle_in_transaction_session_timeout": IDLE_SECONDS * 1000,
    "statement_timeout": STATEMENT_SECONDS * 1000,
    "tcp_user_timeout": SILENT_SECONDS * 1000,
    "tcp_keepalives_idle": KEEPALIVE_SECONDS,
    "tcp_keepalives_interval": KEEPALIVE_SECONDS,
    "tcp_keepalives_count": SILENT_SECONDS // KEEPALIVE_SECONDS,
}
"""Limits on the server, by PostgreSQL's names of settings."""
CLIENT_LIMITS: Final = {
    "connect_timeout": CONNECT_SECONDS,
    "tcp_user_timeout": SILENT_SECONDS * 1000,
    "keepalives_idle": KEEPALIVE_SECONDS,
    "keepalives_interval": KEEPALIVE_SECONDS,
    "keepalives_count": SILENT_SECONDS // KEEPALIVE_SECONDS,
}
"""Limits in the client, by libpq's names of parameters."""

SERVES_FROM_TABLE: Final = "alembic_version"
"""The table of the oldest revision whose programs the schema serves. Programs up to revision 0004 read only this table
and refuse a database where it does not name their own revision; so they keep running while a later schema serves
them."""
VERSION_TABLE: Final = "schema_revision"
"""The table of the schema's own revision, since 0005."""
LOCK_NOT_AVAILABLE: Final = "55P03"
LOCK_TRIES: Final = 60


DATABASE_AWAY: Final = (OperationalError, InterfaceError, InternalError, PoolTimeout)
"""The errors of a database that is down, full, locked, read-only or disconnected: a retry may succeed later."""
WHOLE_DATABASE: Final = ("08", "25006", "53", "57P")
"""SQLSTATEs of errors that affect every statement: connections, read-only, resources (a full disk), shutdown."""


class now(FunctionElement[float]):  # noqa: N801 - used like the SQL function that it is
    """The database's clock, in seconds since 1970: the only clock that leases use.

    It is read once for each statement. A clock that advances within a statement (`clock_timestamp`) prevents index
    range scans, and one that is fixed for a transaction (PostgreSQL's own `now`) is stale after a wait for a lock.
    """

    type = Double()
    inherit_cache = True


@compiles(now, "postgresql")
def _now_postgresql(element: now, compiler: SQLCompiler, **kw: Any) -> str:
    return "extract(epoch from statement_timestamp())::float8"


@compiles(now, "sqlite")
def _now_sqlite(element: now, compiler: SQLCompiler, **kw: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


class Database:
    """A pool of connections. All transactions use `read` or `write`."""

    def __init__(self, url: str, *, limited: bool = True) -> None:
        """`limited` False is for migrations: to build an index over millions of rows takes longer than the limits
        allow.
        """
        parsed = make_url(url)
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        self.engine = _sqlite(parsed.database) if parsed.drivername == "sqlite" else _postgresql(parsed, limited)

    @contextmanager
    def write(self) -> Generator[Session]:
        """A short transaction that commits at the end. On SQLite it begins IMMEDIATE, so that it never fails after it
        began.
        """
        with (
            _measured("write"),
            Session(self.engine.execution_options(limner_write=True), expire_on_commit=False) as session,
            session.begin(),
        ):
            yield session

    @contextmanager
    def read(self) -> Generator[Session]:
        """A transaction for reads. On SQLite all its statements see one snapshot; on PostgreSQL each sees its own."""
        with _measured("read"), Session(self.engine, expire_on_commit=False) as session:
            yield session

    def dispose(self) -> None:
        """Close every idle connection."""
        self.engine.dispose()


@contextmanager
def _measured(operation: str) -> Generator[None]:
    started, failure = time.perf_counter(), None
    try:
        yield
    except SQLAlchemyError as error:
        failure = "away" if is_away(error) else "statement"
        metrics.DATABASE_ERRORS.inc(operation=operation, kind=failure)
        raise
    finally:
        seconds = time.perf_counter() - started
        metrics.DATABASE_SECONDS.observe(seconds, operation=operation)
        tracing.record_call(f"database {operation}", seconds, failure)


def insert_many(table: type[DeclarativeBase]) -> Insert:
    """An INSERT for many rows at once, without the ORM's work for each row. Its keys are names of columns."""
    return insert(table.metadata.tables[table.__tablename__])


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


def describe(error: BaseException) -> str:
    """Describe an error in one line for a log: a database's own first line, without the statement and its values."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    first = (str(cause).strip().splitlines() or [""])[0]
    return f"{type(cause).__name__}: {first}"[:200]


def _postgresql(url: URL, limited: bool) -> Engine:
    if not limited:
        return create_engine(url, pool_pre_ping=True, hide_parameters=True)
    given = dict(url.query)
    own = given.get("options", "")
    limits = " ".join(f"-c {name}={value}" for name, value in POSTGRESQL_LIMITS.items())
    client = {name: value for name, value in CLIENT_LIMITS.items() if name not in given}
    return create_engine(
        url, pool_pre_ping=True, hide_parameters=True, connect_args={**client, "options": f"{limits} {own}".strip()}
    )


def _sqlite(path: str | None) -> Engine:
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        f"sqlite:///{path or ':memory:'}", connect_args={"timeout": SQLITE_BUSY_MS / 1000}, hide_parameters=True
    )

    @event.listens_for(engine, "connect")
    def configure(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]  # the driver must not begin transactions
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")  # an accepted job survives a power failure
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("limner_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


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
    """
    for left in reversed(range(LOCK_TRIES)):
        try:
            command.upgrade(_config(url, tell), revision)
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) != LOCK_NOT_AVAILABLE or not left:
                raise
            (tell or log.info)("A table that must be changed is in use; retrying.")
        else:
            return


def downgrade(url: str, revision: str) -> None:
    """Migrate the schema back to an earlier revision (`base` is the empty database)."""
    command.downgrade(_config(url), revision)


def require_current(url: str) -> None:
    """Check that this program supports the schema. Raises ConfigurationError that says what to do."""
    database = Database(url)
    try:
        current = is_current(database, url)
        newer = not current and schema_revisions(database)[0] not in {None, *known_revisions(url)}
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise ConfigurationError(f"The database cannot be used: {reason}; check LIMNER_DATABASE_URL.") from error
    finally:
        database.dispose()
    if newer:
        raise ConfigurationError(
            "The database's schema no longer supports this version: install a newer version of Limner."
        )
    if not current:
        raise ConfigurationError("The database does not have this version's schema: run `limner db upgrade`.")


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
