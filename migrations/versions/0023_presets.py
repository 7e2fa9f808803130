"""Presets: settings that a tenant keeps under a name.

Nothing else changes, so the programs before run on this schema.

Revision: 0023
Revises: 0022
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None
serves_from = "0004"


def upgrade() -> None:
    """Upgrade the schema."""
    op.create_table(
        "presets",
        sa.Column("tenant_id", sa.String(40), nullable=False),
        sa.Column("name", sa.String(50), nullable=False),
        sa.Column("settings", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_presets_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("tenant_id", "name", name=op.f("pk_presets")),
    )


def downgrade() -> None:
    """Downgrade the schema."""
    op.drop_table("presets")
