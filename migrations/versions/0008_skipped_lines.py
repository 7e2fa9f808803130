"""A bulk may leave out its bad lines, and tells which they were.

Safe while the version before is running: it neither reads nor writes what is added here.

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
    """Take the schema forward."""
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column("bulks", sa.Column("skipped", json, nullable=True))


def downgrade() -> None:
    """Take the schema back."""
    op.drop_column("bulks", "skipped")
