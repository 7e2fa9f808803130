"""Equal requests may share a result: which tenants want that, and by what recipe a picture was made.

Safe while the version before is running: it neither reads nor writes what is added here.

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
    """Take the schema forward."""
    op.add_column("tenants", sa.Column("share_results", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("images", sa.Column("recipe", sa.String(length=64), nullable=True))
    shared = sa.text("recipe IS NOT NULL")
    op.create_index("ix_images_recipe", "images", ["recipe"], sqlite_where=shared, postgresql_where=shared)


def downgrade() -> None:
    """Take the schema back."""
    op.drop_index("ix_images_recipe", "images")
    op.drop_column("images", "recipe")
    op.drop_column("tenants", "share_results")
