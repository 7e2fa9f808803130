"""OpenAI's batches: two new tables, and a column by which a file is the output of a batch.

Safe while the previous release is running: it makes no batches, and its rows of files have no batch.

Revision: 0015
Revises: 0014
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None
serves_from = "0004"

OPEN = "state IN ('validating', 'in_progress', 'finalizing')"
ENDED = "ended_at IS NOT NULL"
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Upgrade the schema. Can be repeated after an interruption."""
    inspected = sa.inspect(op.get_bind())
    if not inspected.has_table("batches"):
        _create_batches()
    if not inspected.has_table("batch_lines"):
        op.create_table(
            "batch_lines",
            sa.Column("bulk_id", sa.String(40), nullable=False),
            sa.Column("line", sa.Integer(), autoincrement=False, nullable=False),
            sa.Column("custom_id", sa.String(255), nullable=False),
            sa.Column("output", JSON, nullable=False),
            sa.PrimaryKeyConstraint("bulk_id", "line", name=op.f("pk_batch_lines")),
            sa.UniqueConstraint("bulk_id", "custom_id", name=op.f("uq_batch_lines_bulk_id_custom_id")),
        )
    if "batch_id" not in {column["name"] for column in inspected.get_columns("files")}:
        op.add_column("files", sa.Column("batch_id", sa.String(40), nullable=True))


def downgrade() -> None:
    """Downgrade the schema."""
    op.execute("DELETE FROM files WHERE batch_id IS NOT NULL")
    op.drop_column("files", "batch_id")
    op.drop_table("batch_lines")
    op.drop_table("batches")


def _create_batches() -> None:
    op.create_table(
        "batches",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("tenant_id", sa.String(40), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("outcome", sa.String(12), nullable=True),
        sa.Column("endpoint", sa.String(60), nullable=False),
        sa.Column("input_file_id", sa.String(40), nullable=False),
        sa.Column("output_file_id", sa.String(40), nullable=True),
        sa.Column("error_file_id", sa.String(40), nullable=True),
        sa.Column("output_seconds", sa.Double(), nullable=False),
        sa.Column("completion_window", sa.String(8), nullable=False),
        sa.Column("origin", sa.String(300), nullable=False),
        sa.Column("extra", JSON, nullable=True),
        sa.Column("errors", JSON, nullable=True),
        sa.Column("bulk_id", sa.String(40), nullable=True),
        sa.Column("total", sa.Integer(), server_default="0", nullable=False),
        sa.Column("completed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("in_progress_at", sa.Double(), nullable=True),
        sa.Column("finalizing_at", sa.Double(), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_batches_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
    )
    op.create_index("ix_batches_listed", "batches", ["tenant_id", "id"])
    for name, column, condition in (("ix_batches_open", "id", OPEN), ("ix_batches_ended", "ended_at", ENDED)):
        rows = sa.text(condition)
        op.create_index(name, "batches", [column], sqlite_where=rows, postgresql_where=rows)
