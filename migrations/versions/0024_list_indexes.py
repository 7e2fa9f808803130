"""Indexes of a tenant's conversations by their last message, for retention, and of its jobs outside bulks, for lists.

Nothing else changes, so the programs before run on this schema.

Revision: 0024
Revises: 0023
"""

from __future__ import annotations

from limner_shared.db.migration_tools import NewIndex, build_indexes, drop_indexes

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None
serves_from = "0004"

CREATED = [
    NewIndex("ix_conversations_tenant_id_touched_at", "conversations", ["tenant_id", "touched_at"]),
    NewIndex("ix_jobs_not_of_a_bulk", "jobs", ["tenant_id", "id"], "bulk_id IS NULL"),
]


def upgrade() -> None:
    """Upgrade the schema."""
    build_indexes(CREATED)


def downgrade() -> None:
    """Downgrade the schema."""
    drop_indexes(CREATED)
