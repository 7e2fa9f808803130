"""Alembic's entry point. It takes the database's URL from its caller, and keeps locks short for rolling deploys."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo

from limner_shared.db import migration_tools
from limner_shared.db.engine import Database
from limner_shared.db.schema import VERSION_TABLE
from limner_shared.db.tables import Base
from limner_shared.settings import Settings


def run() -> None:
    """Apply the migrations in order, each in its own transaction; a concurrent caller waits."""
    url = context.config.attributes.get("url") or Settings().session_database_url
    tell: migration_tools.Tell = context.config.attributes.get("tell", print)
    database = Database(url, limited=False)
    try:
        with database.engine.execution_options(limner_write=True).connect() as connection:
            migration_tools.lift_limits(connection)
            with migration_tools.alone(connection, tell):
                migration_tools.open_versions(connection)
                context.configure(
                    connection=connection,
                    target_metadata=Base.metadata,
                    transaction_per_migration=True,
                    render_as_batch=connection.dialect.name == "sqlite",
                    version_table=VERSION_TABLE,
                    on_version_apply=_note,
                )
                with context.begin_transaction():
                    context.run_migrations()
                connection.commit()
                migration_tools.close_versions(connection, context.script)
                migration_tools.repair_indexes(connection, tell)
    finally:
        database.dispose()


def _note(ctx: MigrationContext, step: MigrationInfo, heads: Collection[Any], run_args: Mapping[str, Any]) -> None:
    del step, run_args  # Alembic passes all four by name
    if ctx.connection is not None:
        migration_tools.note_serves_from(ctx.connection, context.script, next(iter(heads), None))


run()
