"""Waiting jobs by tenant and line, so that a round sees every tenant however many lines one of them has.

Safe while the version before is running: it goes on with `ix_jobs_waiting`, which a later migration may drop.

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
    """Take the schema forward; on PostgreSQL without keeping writers waiting."""
    build_indexes(CREATED)


def downgrade() -> None:
    """Take the schema back."""
    drop_indexes(CREATED)
