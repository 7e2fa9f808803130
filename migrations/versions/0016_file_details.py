"""What is known of an uploaded file: its content type, its SHA-256 and the client's metadata.

Safe while the previous release is running: it leaves the new columns empty. It keeps the files of Replicate's clients
in Redis for a day, where this version does not look; those clients upload them again.

Revision: 0016
Revises: 0015
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None
serves_from = "0004"

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Upgrade the schema. Can be repeated after an interruption."""
    there = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("files")}
    added = (
        sa.Column("content_type", sa.String(255), nullable=True),
        sa.Column("sha256", sa.String(64), nullable=True),
        sa.Column("extra", JSON, nullable=True),
    )
    for column in added:
        if column.name not in there:
            op.add_column("files", column)


def downgrade() -> None:
    """Downgrade the schema."""
    for name in ("extra", "sha256", "content_type"):
        op.drop_column("files", name)
