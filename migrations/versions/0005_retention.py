"""Retention that reads only due rows: marks on jobs, references to inputs, and vacuum settings of the busiest tables.

Revision: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
serves_from = "0004"

VACUUM = {
    # By default a table of ten million jobs would be vacuumed only after two million dead rows. The queue's partial
    # indexes are scanned many times a second, dead entries included, and the planner must know their sizes.
    "jobs": "autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 5000,"
    " autovacuum_analyze_scale_factor = 0.01, autovacuum_analyze_threshold = 5000",
    "events": "autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.05",
    "images": "autovacuum_vacuum_scale_factor = 0.02",
    "idempotency_keys": "autovacuum_vacuum_scale_factor = 0.02",
    # Few rows, updated at every job's end but not in indexed columns: this leaves room for updates on the same page.
    "bulks": "fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02",
}
# Deletes what earlier programs left of the jobs that they deleted.
ORPHANS = """
UPDATE conversations SET title = '' WHERE id IN (
    SELECT conversation_id FROM turns
    WHERE parent_id IS NULL AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = turns.job_id));
UPDATE turns SET text = '' WHERE text <> '' AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.id = turns.job_id);
DELETE FROM turns WHERE conversation_id NOT IN (
    SELECT turns.conversation_id FROM turns JOIN jobs ON jobs.id = turns.job_id);
DELETE FROM conversations WHERE NOT EXISTS (SELECT 1 FROM turns WHERE turns.conversation_id = conversations.id);
DELETE FROM bulks WHERE state IN ('open', 'paused', 'canceled') AND total > 0
    AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.bulk_id = bulks.id)
"""


def upgrade() -> None:
    """Upgrade the schema."""
    op.add_column("jobs", sa.Column("forgotten", sa.SmallInteger(), nullable=False, server_default="0"))
    op.create_table(
        "inputs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_inputs_job_id_jobs", ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name="pk_inputs"),
    )
    op.create_index("ix_inputs_sha256", "inputs", ["sha256"])
    op.create_index("ix_inputs_job_id", "inputs", ["job_id"])
    given_up = sa.text("job_id IS NULL")
    op.create_index("ix_inputs_given_up", "inputs", ["id"], sqlite_where=given_up, postgresql_where=given_up)
    postgres = op.get_bind().dialect.name == "postgresql"
    for name in ("image", "mask"):
        value = f"spec->>'{name}'" if postgres else f"json_extract(spec, '$.{name}')"
        op.execute(f"INSERT INTO inputs (sha256, job_id) SELECT {value}, id FROM jobs WHERE {value} IS NOT NULL")  # noqa: S608
    for statement in ORPHANS.split(";"):
        op.execute(statement)
    if postgres:
        for table, settings in VACUUM.items():
            op.execute(f"ALTER TABLE {table} SET ({settings})")


def downgrade() -> None:
    """Downgrade the schema."""
    if op.get_bind().dialect.name == "postgresql":
        for table, settings in VACUUM.items():
            names = ", ".join(setting.partition("=")[0].strip() for setting in settings.split(","))
            op.execute(f"ALTER TABLE {table} RESET ({names})")
    op.drop_table("inputs")
    op.drop_column("jobs", "forgotten")
