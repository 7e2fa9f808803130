"""The schema: its migrations, and which schemas this program can use."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from limner_shared.db.engine import Database
from limner_shared.db.postgresql_engine import SESSION_MARK
from limner_shared.errors import ConfigurationError, ServiceUnavailable
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
OLDER: Final = "The database does not have this version's schema: run `limner db upgrade`."
NEWER: Final = "The database's schema no longer supports this version: install a newer version of Limner."
NOT_DOWNGRADED: Final = "A newer version of Limner made the database's schema: downgrade it with that version."
SERVED: Final = "The schema is that of a newer version, and supports this one: nothing is changed."

Standing = Literal["current", "older", "newer"]


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
    So is one that made a deadlock with the service's transactions, which lock the same tables in another order.

    A schema of a newer version that supports this one stays as it is.

    Raises ConfigurationError for a URL that leads to a pooler and for a schema that no longer supports this version,
    and ServiceUnavailable if a table stays in use.
    """
    database = Database(url)
    try:  # through a pooler, the lock against other migrations would stay with a session of others
        _require_session(database.sessions, "LIMNER_DATABASE_URL")
        is_later = _is_later(database, url)
        found = standing(database, url)
    finally:
        database.dispose()
    if found == "newer":
        raise ConfigurationError(NEWER)
    if is_later:
        (tell or log.info)(SERVED)
        return
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
    """Migrate the schema back to an earlier revision (`base` is the empty database).

    Raises ConfigurationError for the schema of a newer version.
    """
    database = Database(url)
    try:
        if _is_later(database, url):
            raise ConfigurationError(NOT_DOWNGRADED)
    finally:
        database.dispose()
    command.downgrade(_config(url), revision)


def require_current(url: str, direct_url: str = "") -> None:
    """Check that this program can use the database, and supports its schema. Raises ConfigurationError that says what
    to do.
    """
    database = Database(url, direct_url)
    variable = "LIMNER_DATABASE_DIRECT_URL" if direct_url else "LIMNER_DATABASE_URL"
    try:
        _require_session(database.sessions, variable)
        found = standing(database, url)
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise ConfigurationError(f"The database cannot be used: {reason}; check {variable}.") from error
    finally:
        database.dispose()
    if found != "current":
        raise ConfigurationError(OLDER if found == "older" else NEWER)


def _require_session(engine: Engine, variable: str) -> None:
    """Raise ConfigurationError if a pooler refuses or drops what a connection gives its session."""
    if engine.dialect.name != "postgresql":
        return
    try:
        with engine.connect() as connection:
            mark = connection.scalar(text("SELECT current_setting(:name, true)"), {"name": SESSION_MARK})
    except OperationalError as error:
        if UNSUPPORTED_OPTIONS in str(error.orig):
            raise ConfigurationError(POOLED.format(variable)) from error
        raise
    if mark != "on":
        raise ConfigurationError(POOLED.format(variable))


def is_current(database: Database, url: str) -> bool:
    """Whether this program supports the schema: its own revision, or a later one that still serves it."""
    return standing(database, url) == "current"


def standing(database: Database, url: str) -> Standing:
    """Whether this program supports the schema, or it is too old, or too new.

    The migrations record the oldest revision whose programs are still served (`serves_from`); a program that knows that
    revision is one of them.
    """
    revision, serves_from = schema_revisions(database)
    known = known_revisions(url)
    if revision is None or revision in known:
        return "current" if revision == known[0] else "older"
    return "current" if serves_from in known else "newer"


def _is_later(database: Database, url: str) -> bool:
    """Whether a newer version of Limner made the schema: this one does not know its revision."""
    return schema_revisions(database)[0] not in {None, *known_revisions(url)}


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
