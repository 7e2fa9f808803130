"""Tools for migrations: one process at a time, without the service's time limits, and with every index valid."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from alembic import op
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from limner_shared.db.library_tables import Label
from limner_shared.db.schema import SERVES_FROM_TABLE, VERSION_TABLE

Tell = Callable[[str], object]

ADVISORY_LOCK: Final = 0x11335  # any number that no other program uses for an advisory lock
POLL_SECONDS: Final = 0.5
LOCK_SECONDS: Final = 5
"""How long a change of a table waits for its users; all other users wait behind it meanwhile."""


@dataclass(frozen=True, slots=True)
class NewIndex:
    """An index to build: its name, table and columns, and the condition of a partial index."""

    name: str
    table: str
    columns: Sequence[str]
    condition: str | None = None


@contextmanager
def alone(connection: Connection, tell: Tell) -> Iterator[None]:
    """Wait without a limit until no other process migrates this database. The lock ends with the process."""
    if connection.dialect.name == "postgresql":
        # Polled: the other process's concurrent index build would wait for a transaction that waits for this lock.
        query = text("SELECT pg_try_advisory_lock(:number)")
        _wait(lambda: _committed(connection, query), tell)
        yield
        return
    path = connection.engine.url.database
    if not path:
        yield
        return
    with open(f"{path}.migration-lock", "w") as file:  # noqa: PTH123 - SQLite's own locks are taken per statement
        _wait(lambda: _flocked(file.fileno()), tell)
        yield


def _wait(locked: Callable[[], bool], tell: Tell) -> None:
    if locked():
        return
    tell("Another process migrates this database; waiting for it.")
    while not locked():
        time.sleep(POLL_SECONDS)


def _committed(connection: Connection, query: Any) -> bool:
    found = bool(connection.scalar(query, {"number": ADVISORY_LOCK}))
    connection.commit()
    return found


def _flocked(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lift_limits(connection: Connection) -> None:
    """Remove the service's time limits: a migration may take long. Only its waits for locks stay short."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET statement_timeout = 0"))
        connection.execute(text("SET idle_in_transaction_session_timeout = 0"))
        connection.execute(text(f"SET lock_timeout = '{LOCK_SECONDS}s'"))
        connection.commit()


# --- the revision of the schema, and the programs that it serves -------------------------------------------------


def open_versions(connection: Connection) -> None:
    """Create the two tables that `schema.is_current` reads; the revision is copied from an earlier program's table."""
    for table in (SERVES_FROM_TABLE, VERSION_TABLE):
        if not inspect(connection).has_table(table):
            key = f"CONSTRAINT {table}_pkc PRIMARY KEY (version_num)"
            connection.execute(text(f"CREATE TABLE {table} (version_num VARCHAR(32) NOT NULL, {key})"))
            if table == VERSION_TABLE:
                copied = f"INSERT INTO {VERSION_TABLE} SELECT version_num FROM {SERVES_FROM_TABLE}"  # noqa: S608 - constants
                connection.execute(text(copied))
    connection.commit()


def close_versions(connection: Connection, scripts: ScriptDirectory) -> None:
    """Drop the newer table if the schema is at a revision whose programs know only the older one."""
    revision = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608 - a constant
    if revision is None or _serves_from(scripts, revision) == revision:
        connection.execute(text(f"DROP TABLE {VERSION_TABLE}"))
    connection.commit()


def note_serves_from(connection: Connection, scripts: ScriptDirectory, revision: str | None) -> None:
    """Record the oldest program that this revision serves, in the migration's own transaction."""
    connection.execute(text(f"DELETE FROM {SERVES_FROM_TABLE}"))  # noqa: S608 - a constant
    if revision is not None:
        insert = text(f"INSERT INTO {SERVES_FROM_TABLE} VALUES (:revision)")  # noqa: S608 - a constant
        connection.execute(insert, {"revision": _serves_from(scripts, revision)})


def _serves_from(scripts: ScriptDirectory, revision: str) -> str:
    return getattr(scripts.get_revision(revision).module, "serves_from", revision)


# --- indexes --------------------------------------------------------------------------------------------------------


def build_indexes(indexes: Sequence[NewIndex]) -> None:
    """Build indexes without blocking writers. Existing ones are kept, so that it can run again."""
    with _concurrently() as concurrently:
        for index in indexes:
            if concurrently and index.name in _invalid(op.get_bind()):
                op.drop_index(index.name, index.table, postgresql_concurrently=True)
            where = None if index.condition is None else text(index.condition)
            op.create_index(
                index.name,
                index.table,
                list(index.columns),
                if_not_exists=True,
                sqlite_where=where,
                postgresql_where=where,
                postgresql_concurrently=concurrently,
            )


def drop_indexes(indexes: Sequence[NewIndex]) -> None:
    """Drop the indexes that exist, without blocking other users."""
    with _concurrently() as concurrently:
        for index in indexes:
            op.drop_index(index.name, index.table, if_exists=True, postgresql_concurrently=concurrently)


@contextmanager
def _concurrently() -> Iterator[bool]:
    """On PostgreSQL, run outside a transaction and without a lock timeout: a build waits for all older transactions."""
    if op.get_bind().dialect.name != "postgresql":
        yield False
        return
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")
        yield True
        op.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")


def repair_indexes(connection: Connection, tell: Tell) -> None:
    """Rebuild the indexes that an interrupted build left invalid: they slow down writers and serve no query."""
    if connection.dialect.name != "postgresql":
        return
    names = _invalid(connection)
    connection.commit()
    apart = connection.execution_options(isolation_level="AUTOCOMMIT")
    apart.execute(text("SET lock_timeout = 0"))
    for name in names:
        tell(f"The index {name} is not valid, because its build was interrupted; building it again.")
        left_over = name.rpartition("_")[2].startswith(("ccnew", "ccold"))
        command = "DROP INDEX CONCURRENTLY" if left_over else "REINDEX INDEX CONCURRENTLY"
        apart.execute(text(f'{command} "{name}"'))


def _invalid(connection: Connection) -> list[str]:
    """The names of the invalid indexes of our tables."""
    query = text(
        "SELECT indexes.relname FROM pg_index JOIN pg_class indexes ON indexes.oid = indexrelid"
        " JOIN pg_class tables ON tables.oid = indrelid"
        " WHERE NOT indisvalid AND tables.relname = ANY(:tables) AND pg_table_is_visible(indrelid) ORDER BY 1"
    )
    return list(connection.scalars(query, {"tables": list(Label.metadata.tables)}))
