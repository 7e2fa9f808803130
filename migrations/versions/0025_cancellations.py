"""Orders to cancel the jobs that wait, which the dispatcher carries out.

Nothing else changes, so the programs before run on this schema. Their dispatchers leave orders to the next one.

Revision: 0025
Revises: 0024
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None
serves_from = "0004"


def upgrade() -> None:
    """Upgrade the schema."""
    op.create_table(
        "cancellations",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("tenant_id", sa.String(40), nullable=False),
        sa.Column("model", sa.String(64), nullable=True),
        sa.Column("priority", sa.String(10), nullable=True),
        sa.Column("last_job", sa.String(40), nullable=False),
        sa.Column("canceled", sa.Integer(), nullable=False),
        sa.Column("ordered_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_cancellations_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cancellations")),
    )
    op.create_index(op.f("ix_cancellations_tenant_id"), "cancellations", ["tenant_id"])


def downgrade() -> None:
    """Downgrade the schema."""
    op.drop_table("cancellations")
