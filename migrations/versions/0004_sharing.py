"""Deduplication: tenants whose equal requests share a result, and the deduplication keys of pictures (column `recipe`).

Safe while the previous release is running: it neither reads nor writes these columns.

Revision: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Upgrade the schema."""
    op.add_column("tenants", sa.Column("share_results", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("images", sa.Column("recipe", sa.String(length=64), nullable=True))
    shared = sa.text("recipe IS NOT NULL")
    op.create_index("ix_images_recipe", "images", ["recipe"], sqlite_where=shared, postgresql_where=shared)


def downgrade() -> None:
    """Downgrade the schema."""
    op.drop_index("ix_images_recipe", "images")
    op.drop_column("images", "recipe")
    op.drop_column("tenants", "share_results")
