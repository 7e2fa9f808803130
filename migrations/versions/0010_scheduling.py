"""Jobs that wait for a time, and retries: three columns, and the indexes of what is scheduled and what waits.

Safe while the previous release is running: it inserts jobs without the new columns, which are then neither scheduled
nor retried, and its queries use `ix_jobs_waiting`. `ix_jobs_lines` is dropped, because a planner could use it in place
of `ix_jobs_ready` and so read all scheduled jobs; no release uses it.

Revision: 0010
Revises: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from limner_shared.db.migration_tools import NewIndex, build_indexes, drop_indexes

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None
serves_from = "0004"

COLUMNS = ["model", "priority", "tenant_id", "flow", "id"]
CREATED = [
    NewIndex("ix_jobs_ready", "jobs", COLUMNS, "state = 'queued' AND released_at IS NULL AND not_before IS NULL"),
    NewIndex("ix_jobs_scheduled", "jobs", ["not_before"], "state = 'queued' AND not_before IS NOT NULL"),
]
DROPPED = [NewIndex("ix_jobs_lines", "jobs", COLUMNS, "state = 'queued' AND released_at IS NULL")]


def upgrade() -> None:
    """Upgrade the schema; on PostgreSQL without blocking writers."""
    existing = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("jobs")}
    for column in (
        sa.Column("not_before", sa.Double(), nullable=True),
        sa.Column("retries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("max_retries", sa.Integer(), server_default="0", nullable=False),
    ):
        if column.name not in existing:  # an interrupted migration goes on here
            op.add_column("jobs", column)
    build_indexes(CREATED)
    drop_indexes(DROPPED)


def downgrade() -> None:
    """Downgrade the schema."""
    build_indexes(DROPPED)
    drop_indexes(CREATED)
    for name in ("max_retries", "retries", "not_before"):
        op.drop_column("jobs", name)
