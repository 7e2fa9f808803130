"""Traces: a column of jobs that names the span of their request.

Safe while the previous release is running, which neither writes nor reads it: its jobs are not traced.

Revision: 0018
Revises: 0017
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None
serves_from = "0004"


def upgrade() -> None:
    """Upgrade the schema. Can be repeated after an interruption."""
    present = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("jobs")}
    if "traceparent" not in present:
        op.add_column("jobs", sa.Column("traceparent", sa.String(55), nullable=True))


def downgrade() -> None:
    """Downgrade the schema."""
    op.drop_column("jobs", "traceparent")
