"""PostgreSQL databases of tests: new ones, and migrated ones that are emptied and used again."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, make_url, text

from limner_shared.db.engine import Database

SCHEMA: Final = text("""
SELECT md5(string_agg(line, chr(10) ORDER BY line)) FROM (
  SELECT concat_ws(' ', 'class', relname, relkind, relpersistence, reloptions, relacl) AS line FROM pg_class
    WHERE relnamespace = 'public'::regnamespace
  UNION ALL SELECT concat_ws(' ', 'column', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull,
      attisdropped, atthasdef, attstattarget) FROM pg_attribute
    JOIN pg_class ON attrelid = pg_class.oid WHERE relnamespace = 'public'::regnamespace AND attnum > 0
  UNION ALL SELECT concat_ws(' ', 'constraint', conrelid::regclass, pg_get_constraintdef(oid), convalidated)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
  UNION ALL SELECT concat_ws(' ', 'index', indexrelid::regclass, indisvalid, indisready) FROM pg_index
    JOIN pg_class ON indexrelid = pg_class.oid WHERE relnamespace = 'public'::regnamespace
  UNION ALL SELECT concat_ws(' ', 'trigger', tgrelid::regclass, tgname, tgenabled) FROM pg_trigger
    WHERE NOT tgisinternal
  UNION ALL SELECT concat_ws(' ', 'function', proname, md5(prosrc)) FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace
  UNION ALL SELECT concat_ws(' ', 'statistics', starelid::regclass) FROM pg_statistic
    JOIN pg_class ON starelid = pg_class.oid WHERE relnamespace = 'public'::regnamespace
  UNION ALL SELECT concat_ws(' ', 'setting', setconfig) FROM pg_db_role_setting
    WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
) AS lines
""")
"""What a test may have changed apart from rows; statistics too, because plans depend on them."""

WITH_ROWS: Final = text("""
SELECT string_agg(quote_ident(relname), ', ') FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname NOT IN ('alembic_version', 'schema_revision')
  AND pg_relation_size(oid) > 0
""")
USED_SEQUENCES: Final = text("""
SELECT quote_ident(sequencename) FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL
""")
VERSIONS: Final = text("""
SELECT alembic_version::text FROM alembic_version UNION ALL SELECT schema_revision::text FROM schema_revision ORDER BY 1
""")


def url_of(maintenance_url: str, name: str) -> str:
    return make_url(maintenance_url).set(database=name).render_as_string(hide_password=False)


def name_of(url: str) -> str:
    name = make_url(url).database
    assert name is not None
    return name


def new_name() -> str:
    return f"limner_{secrets.token_hex(6)}"


def create_database(maintenance_url: str, template: str = "template1") -> str:
    """Create a PostgreSQL database and return its URL."""
    name = new_name()
    execute(maintenance_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    return url_of(maintenance_url, name)


def drop_database(maintenance_url: str, url: str) -> None:
    """Delete a PostgreSQL database: a thousand of them would take long to delete with the server."""
    execute(maintenance_url, f"DROP DATABASE {name_of(url)} WITH (FORCE)")


def execute(maintenance_url: str, *statements: str) -> None:
    """Execute statements of a server's administrator, each by itself."""
    maintenance = Database(maintenance_url)
    with maintenance.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in statements:
            connection.execute(text(statement))
    maintenance.dispose()


class MigratedDatabases:
    """Copies of a migrated database. One that a test gives back is emptied and used again, since to create one takes a
    third of a second; one whose schema, settings or statistics have changed is deleted.
    """

    def __init__(self, maintenance_url: str, template: str) -> None:
        self._maintenance_url = maintenance_url
        self._template = template
        self._expected = _read(url_of(maintenance_url, template))
        self._empty: list[str] = []

    def take(self) -> str:
        """The URL of a migrated database without rows."""
        return self._empty.pop() if self._empty else create_database(self._maintenance_url, self._template)

    def give_back(self, url: str) -> None:
        """Takes the database under another name: a process that the test left cannot open it."""
        old, new = name_of(url), new_name()
        execute(
            self._maintenance_url,
            f"ALTER DATABASE {old} ALLOW_CONNECTIONS false",
            f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{old}'",  # noqa: S608
            f"ALTER DATABASE {old} RENAME TO {new}",
            f"ALTER DATABASE {new} ALLOW_CONNECTIONS true",
        )
        renamed = url_of(self._maintenance_url, new)
        if _read(renamed) == self._expected:
            _delete_rows(renamed)
            self._empty.append(renamed)
        else:
            drop_database(self._maintenance_url, renamed)


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    database = Database(url)
    try:
        with database.engine.begin() as connection:
            yield connection
    finally:
        database.dispose()


def _read(url: str) -> tuple[str, list[str]]:
    """What must be as in the template: the schema, and the versions of the migrations."""
    with _connected(url) as connection:
        return connection.execute(SCHEMA).scalar_one(), list(connection.execute(VERSIONS).scalars())


def _delete_rows(url: str) -> None:
    with _connected(url) as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))  # that is, without triggers
        if tables := connection.execute(WITH_ROWS).scalar_one():
            connection.execute(text(f"TRUNCATE {tables} RESTART IDENTITY CASCADE"))
        for sequence in connection.execute(USED_SEQUENCES).scalars().all():
            connection.execute(text(f"ALTER SEQUENCE {sequence} RESTART"))
