"""Answers of repeated requests that make or change many things: a column of the idempotency keys.

Safe while the previous release is running, which stores no answers and answers such a request again.

Revision: 0021
Revises: 0020
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None
serves_from = "0004"


def upgrade() -> None:
    """Upgrade the schema. Can be repeated after an interruption."""
    present = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("idempotency_keys")}
    if "answer" not in present:
        kind = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
        op.add_column("idempotency_keys", sa.Column("answer", kind, nullable=True))


def downgrade() -> None:
    """Downgrade the schema."""
    op.drop_column("idempotency_keys", "answer")
