"""An index of waiting jobs by tenant and queue, so that a round sees every tenant regardless of its number of queues.

Safe while the previous release is running: it continues to use `ix_jobs_waiting`, which a later migration may drop.

Revision: 0007
Revises: 0006
"""

from __future__ import annotations

from limner_shared.db.migration_tools import NewIndex, build_indexes, drop_indexes

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
serves_from = "0004"

CREATED = [
    NewIndex(
        "ix_jobs_lines",
        "jobs",
        ["model", "priority", "tenant_id", "flow", "id"],
        "state = 'queued' AND released_at IS NULL",
    )
]


def upgrade() -> None:
    """Upgrade the schema; on PostgreSQL without blocking writers."""
    build_indexes(CREATED)


def downgrade() -> None:
    """Downgrade the schema."""
    drop_indexes(CREATED)
