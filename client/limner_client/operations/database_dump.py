"""Snapshots of a database in one file: SQLite's own copy, or a dump by PostgreSQL's tools."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sqlalchemy import URL, FromClause, NullPool, create_engine, func, inspect, select, text
from sqlalchemy.orm import Session

from limner_shared.db.engine import Database
from limner_shared.db.postgresql_engine import libpq_parameters, parse
from limner_shared.db.tables import Base
from limner_shared.errors import ConfigurationError, ServiceUnavailable

SQLITE: Final = "sqlite"
POSTGRESQL: Final = "postgresql"
DUMPS: Final = {SQLITE: "database.sqlite", POSTGRESQL: "database.dump"}
"""The dump's file name for each kind of database."""
BUSY_SECONDS: Final = 60
SERVICE: Final = "limner"
SHOWN_CHARS: Final = 300


def kind_of(url: str) -> str:
    """SQLITE or POSTGRESQL."""
    return SQLITE if parse(url).get_backend_name() == "sqlite" else POSTGRESQL


@contextmanager
def snapshot(url: str, file: Path) -> Iterator[Session]:
    """Write the database as of one moment to `file`; within the context the session reads that same moment.

    Raises ConfigurationError or ServiceUnavailable with what to do.
    """
    with _sqlite_snapshot(url, file) if kind_of(url) == SQLITE else _postgresql_snapshot(url, file) as session:
        yield session


def row_counts(session: Session) -> dict[str, int]:
    """The number of rows of every table."""
    return {table.name: row_count(session, table) for table in Base.metadata.sorted_tables}


def row_count(session: Session, table: FromClause) -> int:
    """The number of rows of a table."""
    return session.scalar(select(func.count()).select_from(table)) or 0


def table_names(url: str) -> list[str]:
    """The tables of a database."""
    database = Database(url)
    try:
        return inspect(database.engine).get_table_names()
    finally:
        database.dispose()


def load(url: str, dump: Path) -> None:
    """Load a dump into an empty PostgreSQL database, in one transaction. Raises ServiceUnavailable."""
    options = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]
    _run("pg_restore", parse(url), ["-d", f"service={SERVICE}", *options, str(dump)])


def check_tools(url: str) -> None:
    """Raise ConfigurationError if the dump needs a program that is not installed."""
    if kind_of(url) == POSTGRESQL:
        _program("pg_dump")


@contextmanager
def _sqlite_snapshot(url: str, file: Path) -> Iterator[Session]:
    path = Path(parse(url).database or "")
    if not path.is_file():
        raise ConfigurationError(f"There is no database at {path}: check LIMNER_DATA_DIR and LIMNER_DATABASE_URL.")
    # All pages in one step, which is one read transaction: writers go on meanwhile.
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as source, closing(sqlite3.connect(file)) as target:
        source.backup(target, pages=-1)
        target.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
    with file.open("rb+") as written:
        os.fsync(written.fileno())
    # Immutable: it is read without locks and without a log beside it.
    address = f"file:{quote(str(file.absolute()))}?mode=ro&immutable=1"
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(address, uri=True), poolclass=NullPool)
    with Session(engine) as session:
        yield session


@contextmanager
def _postgresql_snapshot(url: str, file: Path) -> Iterator[Session]:
    database = Database(url, limited=False)  # the transaction is open for as long as the dump takes
    try:
        with Session(database.engine.execution_options(isolation_level="REPEATABLE READ")) as session:
            name = session.scalar(text("SELECT pg_export_snapshot()"))
            options = ["--format=custom", "--no-owner", "--no-privileges", f"--snapshot={name}", f"--file={file}"]
            _run("pg_dump", database.engine.url, [f"--dbname=service={SERVICE}", *options])
            with file.open("rb+") as written:
                os.fsync(written.fileno())
            yield session
    finally:
        database.dispose()


def _run(name: str, url: URL, options: Sequence[str]) -> None:
    """Run one of PostgreSQL's programs. The password is in a file that only this user can read: other users see the
    arguments of a process. What the URL does not have comes from the variables of libpq and from the service that
    PGSERVICE names, as for the processes of Limner.
    """
    program = _program(name)
    with tempfile.TemporaryDirectory() as folder:
        services = Path(folder) / "services.conf"
        services.touch(mode=0o600)
        parameters = _libpq_defaults() | libpq_parameters(url)
        lines = [f"{key}={value}" for key, value in parameters.items()]
        services.write_text("\n".join([f"[{SERVICE}]", *lines, ""]))
        done = subprocess.run(  # noqa: S603 - our own command
            [program, *options],
            env={**os.environ, "PGSERVICEFILE": str(services)},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    if done.returncode:
        reason = " ".join(done.stderr.split())[:SHOWN_CHARS] or f"exit code {done.returncode}"
        raise ServiceUnavailable(f"{name} failed: {reason}")


def _libpq_defaults() -> dict[str, str]:
    """The parameters that libpq takes from its variables and from the service that PGSERVICE names."""
    from psycopg.pq import Conninfo  # noqa: PLC0415 - SQLite needs no psycopg

    chosen = {each.keyword.decode(): each.val for each in Conninfo.get_defaults() if each.val != each.compiled}
    return {name: value.decode() for name, value in chosen.items() if value and not name.startswith("service")}


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ConfigurationError(
            f"{name} is not on the PATH: install PostgreSQL's client programs, of the server's version or a newer one."
        )
    return found
