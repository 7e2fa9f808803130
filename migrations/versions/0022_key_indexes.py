"""Indexes of keys: a tenant's list, the sessions of a person, and keys whose expiry is to be recorded.

Nothing else changes, so the programs before run on this schema.

Revision: 0022
Revises: 0021
"""

from __future__ import annotations

from limner_shared.db.migration_tools import NewIndex, build_indexes, drop_indexes

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None
serves_from = "0004"

EXPIRING = "expires_at IS NOT NULL AND revoked_at IS NULL AND NOT expiry_recorded"
CREATED = [
    NewIndex("ix_api_keys_tenant_id_created_at_id", "api_keys", ["tenant_id", "created_at", "id"]),
    NewIndex("ix_api_keys_label", "api_keys", ["label"]),
    NewIndex("ix_api_keys_expiring", "api_keys", ["expires_at"], EXPIRING),
]


def upgrade() -> None:
    """Upgrade the schema."""
    build_indexes(CREATED)


def downgrade() -> None:
    """Downgrade the schema."""
    drop_indexes(CREATED)
