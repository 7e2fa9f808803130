"""Waiting jobs by tenant and line, so that a round sees every tenant however many lines one of them has.

Safe while the version before is running: it goes on with `ix_jobs_waiting`, which a later migration may drop.

Revision: 0007
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0004"
branch_labels = None
depends_on = None

WAITING = sa.text("state = 'queued' AND released_at IS NULL")
COLUMNS = ["model", "priority", "tenant_id", "flow", "id"]


def upgrade() -> None:
    """Take the schema forward; on PostgreSQL without keeping writers waiting."""
    postgres = op.get_bind().dialect.name == "postgresql"
    with op.get_context().autocommit_block():
        op.create_index(
            "ix_jobs_lines",
            "jobs",
            COLUMNS,
            sqlite_where=WAITING,
            postgresql_where=WAITING,
            postgresql_concurrently=postgres,
        )


def downgrade() -> None:
    """Take the schema back."""
    postgres = op.get_bind().dialect.name == "postgresql"
    with op.get_context().autocommit_block():
        op.drop_index("ix_jobs_lines", "jobs", postgresql_concurrently=postgres)
