"""Favourites and tags; an index of the jobs whose copies of deleted messages are to be deleted.

Safe while the version before is running: labels are deleted with their jobs by the database. Labels that the previous
version's retention leaves behind when it deletes a prompt or an image are deleted with the job.

Revision: 0012
Revises: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from limner_shared.db.migration_tools import NewIndex, build_indexes, drop_indexes

revision = "0012"
down_revision = "0010"
branch_labels = None
depends_on = None
serves_from = "0004"

CREATED = [NewIndex("ix_jobs_history_due", "jobs", ["id"], "forgotten >= 4 AND finished_at IS NOT NULL")]


def upgrade() -> None:
    """Upgrade the schema; on PostgreSQL without blocking writers."""
    if not sa.inspect(op.get_bind()).has_table("labels"):  # an interrupted migration goes on here
        op.create_table(
            "labels",
            sa.Column("tenant_id", sa.String(40), nullable=False),
            sa.Column("label", sa.String(50), nullable=False),
            sa.Column("job_id", sa.String(40), nullable=False),
            sa.Column("image_id", sa.String(40), nullable=False),
            sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_labels_tenant_id_tenants")),
            sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_labels_job_id_jobs"), ondelete="CASCADE"),
            sa.PrimaryKeyConstraint("tenant_id", "label", "job_id", "image_id", name=op.f("pk_labels")),
        )
        op.create_index(op.f("ix_labels_job_id"), "labels", ["job_id"])
    build_indexes(CREATED)


def downgrade() -> None:
    """Downgrade the schema."""
    drop_indexes(CREATED)
    op.drop_table("labels")
