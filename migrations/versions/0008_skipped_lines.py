"""Bulks can skip invalid lines and record them.

Safe while the previous release is running: it neither reads nor writes this column.

Revision: 0008
Revises: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
serves_from = "0004"


def upgrade() -> None:
    """Upgrade the schema."""
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column("bulks", sa.Column("skipped", json, nullable=True))


def downgrade() -> None:
    """Downgrade the schema."""
    op.drop_column("bulks", "skipped")
