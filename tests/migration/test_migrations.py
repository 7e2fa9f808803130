"""The migrations make the schema that the code expects, on both databases, and can be taken back."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from limner_shared.db import engine as db
from limner_shared.db.engine import SERVES_FROM_TABLE, VERSION_TABLE, Database
from limner_shared.db.tables import Base


def _ours(name: str | None, kind: str, _parents: object) -> bool:
    return kind != "table" or name != SERVES_FROM_TABLE


def test_the_migrated_schema_is_the_one_that_the_models_describe(database):
    with database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "version_table": VERSION_TABLE, "include_name": _ours}
        )
        assert compare_metadata(context, Base.metadata) == []


def test_the_schema_can_be_taken_down_and_up_again(empty_database_url):
    database_url = empty_database_url
    db.upgrade(database_url)
    opened = Database(database_url)
    assert db.is_current(opened, database_url)
    db.downgrade(database_url, "base")
    assert not db.is_current(opened, database_url)
    assert set(inspect(opened.engine).get_table_names()) == {"alembic_version"}
    db.upgrade(database_url)
    assert db.is_current(opened, database_url)
    opened.dispose()


def test_upgrading_twice_changes_nothing(database, database_url):
    db.upgrade(database_url)
    assert db.is_current(database, database_url)
