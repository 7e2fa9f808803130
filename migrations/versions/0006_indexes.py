"""Indexes for every filter of the API and for retention; redundant ones are dropped.

No program refers to the dropped indexes by name; the new ones serve the queries of the programs before.

Revision: 0006
Revises: 0005
"""

from __future__ import annotations

from limner_shared.db.migration_tools import NewIndex, build_indexes, drop_indexes

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
serves_from = "0004"

CREATED = [
    NewIndex("ix_jobs_tenant_id_state_id", "jobs", ["tenant_id", "state", "id"]),
    NewIndex("ix_jobs_tenant_id_model_state_id", "jobs", ["tenant_id", "model", "state", "id"]),
    NewIndex("ix_jobs_bulk_id_state_id", "jobs", ["bulk_id", "state", "id"]),
    NewIndex("ix_jobs_ended", "jobs", ["tenant_id", "forgotten", "finished_at"], "finished_at IS NOT NULL"),
    NewIndex("ix_idempotency_keys_resource_id", "idempotency_keys", ["resource_id"]),
    NewIndex("ix_usage_day", "usage", ["day"]),
]
DROPPED = [
    NewIndex("ix_jobs_bulk_id_state", "jobs", ["bulk_id", "state"]),
    NewIndex("ix_jobs_queued", "jobs", ["tenant_id"], "state = 'queued'"),
    NewIndex("ix_jobs_finished", "jobs", ["tenant_id", "finished_at"], "finished_at IS NOT NULL"),
]


def upgrade() -> None:
    """Upgrade the schema."""
    build_indexes(CREATED)
    drop_indexes(DROPPED)


def downgrade() -> None:
    """Downgrade the schema."""
    build_indexes(DROPPED)
    drop_indexes(CREATED)
