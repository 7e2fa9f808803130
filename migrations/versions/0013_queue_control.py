"""Pauses of models and tenants, and the keys of unique jobs.

Safe while the previous release is running. Its dispatchers and workers ignore pauses, so upgrade them before anything
is paused. Its web processes refuse a request with `unique`.

Revision: 0013
Revises: 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
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
    op.create_table(
        "unique_keys",
        sa.Column("tenant_id", sa.String(40), nullable=False),
        sa.Column("scope", sa.String(80), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("kept_until", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_unique_keys_tenant_id_tenants")),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["jobs.id"],
            name=op.f("fk_unique_keys_job_id_jobs"),
            ondelete="CASCADE",
            deferrable=True,
            initially="DEFERRED",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "scope", "digest", name=op.f("pk_unique_keys")),
    )
    op.create_index(op.f("ix_unique_keys_job_id"), "unique_keys", ["job_id"])
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column("bulks", sa.Column("duplicates", json, nullable=True))


def downgrade() -> None:
    """Downgrade the schema."""
    op.drop_column("bulks", "duplicates")
    op.drop_table("unique_keys")
    op.drop_table("pauses")
