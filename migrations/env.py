"""Alembic's entry: takes the database's URL from whoever calls, and keeps locks short so that a deploy can roll."""

from __future__ import annotations

from alembic import context
from sqlalchemy import text

from limner_shared.database import Database
from limner_shared.settings import Settings
from limner_shared.tables import Base

MIGRATION_LOCK = 0x11335  # any number that nobody else uses as an advisory lock


def run() -> None:
    """Apply migrations one after another, each in a transaction of its own; a second caller waits for the first."""
    url = context.config.attributes.get("url") or Settings().resolved_database_url
    database = Database(url, limited=False)
    with database.engine.connect() as connection:
        postgres = connection.dialect.name == "postgresql"
        if postgres:
            connection.execute(text("SET lock_timeout = '5s'"))
            connection.execute(text("SET statement_timeout = '60s'"))
            connection.execute(text(f"SELECT pg_advisory_lock({MIGRATION_LOCK})"))
            connection.commit()
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            transaction_per_migration=True,
            render_as_batch=not postgres,
        )
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()
    database.dispose()


run()
