"""The migrations create the schema that the code expects, with both databases, and can be reverted."""

from __future__ import annotations

import re
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from limner_shared.db import schema
from limner_shared.db.engine import Database
from limner_shared.db.library_tables import WORD_INDEX, WORD_PURGE
from limner_shared.db.schema import SERVES_FROM_TABLE, VERSION_TABLE
from limner_shared.db.tables import Base


def _ours(name: str | None, kind: str, _parents: object) -> bool:
    # SQLite's full-text index is a virtual table with tables of its own.
    return kind != "table" or not (name or "").startswith((SERVES_FROM_TABLE, WORD_INDEX, WORD_PURGE))


def test_the_migrated_schema_matches_the_models(database: Database):
    dialect = database.engine.dialect.name

    def included(made: object, *_: object) -> bool:
        return getattr(made, "_ddl_if", None) is None or dialect == "postgresql"

    with database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "version_table": VERSION_TABLE,
                "include_name": _ours,
                "include_object": included,
            },
        )
        assert compare_metadata(context, Base.metadata) == []


def test_the_schema_can_be_downgraded_and_upgraded_again(empty_database_url: str):
    database_url = empty_database_url
    schema.upgrade(database_url)
    opened = Database(database_url)
    assert schema.is_current(opened, database_url)
    schema.downgrade(database_url, "base")
    assert not schema.is_current(opened, database_url)
    assert set(inspect(opened.engine).get_table_names()) == {"alembic_version"}
    schema.upgrade(database_url)
    assert schema.is_current(opened, database_url)
    opened.dispose()


def test_each_migration_names_itself_and_the_one_before_it():
    for script in ScriptDirectory(Path(__file__).parents[2] / "migrations").walk_revisions():
        assert re.findall(r"^Revis(?:ion|es): (\w+)", script.longdoc, re.MULTILINE) == [
            script.revision,
            script.down_revision or "nothing",
        ]


def test_upgrading_twice_changes_nothing(database: Database, database_url: str):
    schema.upgrade(database_url)
    assert schema.is_current(database, database_url)
