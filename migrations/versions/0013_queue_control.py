"""Pauses of models and tenants.

Safe while the version before is running. Its dispatchers and workers ignore pauses, so upgrade them before anything is
paused.

Revision: 0013
Revises: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0010"
branch_labels = None
depends_on = None
serves_from = "0004"


def upgrade() -> None:
    """Upgrade the schema."""
    op.create_table(
        "pauses",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(200), nullable=True),
        sa.Column("until", sa.Double(), nullable=True),
        sa.Column("paused_at", sa.Double(), nullable=False),
        sa.Column("actor", sa.String(40), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pauses")),
        sa.UniqueConstraint("kind", "subject", name=op.f("uq_pauses_kind_subject")),
    )


def downgrade() -> None:
    """Downgrade the schema."""
    op.drop_table("pauses")
