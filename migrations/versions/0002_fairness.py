"""Fair release: queue keys, lanes, a leader, tenants' weights, limits and retention, deadlines, dead letters.

Safe while the previous release is running: columns are added nullable or with a default, indexes are built without
blocking writers, and values that the older code does not set are set here for existing rows.

Revision: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

WAITING = "state = 'queued' AND released_at IS NULL"
RELEASED = "state = 'queued' AND released_at IS NOT NULL"
INDEXES = [
    ("ix_jobs_waiting", ["model", "priority", "flow", "id"], WAITING),
    ("ix_jobs_released", ["model", "lane", "released_at"], RELEASED),
    ("ix_jobs_active", ["tenant_id", "model"], f"(state = 'running' OR ({RELEASED}))"),
    ("ix_jobs_queued", ["tenant_id"], "state = 'queued'"),
    ("ix_jobs_deadline", ["deadline_at"], "deadline_at IS NOT NULL AND state IN ('queued', 'running')"),
    ("ix_jobs_dead", ["tenant_id", "id"], "error_code = 'worker_lost'"),
    ("ix_jobs_finished", ["tenant_id", "finished_at"], "finished_at IS NOT NULL"),
    ("ix_jobs_retry_of", ["retry_of"], "retry_of IS NOT NULL"),
]
ENDS = ("succeeded", "failed", "canceled")
UNIQUE = {"ix_jobs_retry_of"}
EARLIER = [
    ("ix_jobs_to_release", ["model", "priority", "id"], WAITING),
    ("ix_jobs_released", ["model", "released_at"], RELEASED),
]


def upgrade() -> None:
    """Upgrade the schema."""
    op.add_column("tenants", sa.Column("weight", sa.Double(), nullable=False, server_default="1"))
    for name in ("requests_per_minute", "max_queued", "max_running"):
        op.add_column("tenants", sa.Column(name, sa.Integer(), nullable=True))
    op.add_column("tenants", sa.Column("cost_per_day", sa.BigInteger(), nullable=True))
    for name in ("keep_images_days", "keep_prompts_days", "keep_jobs_days"):
        op.add_column("tenants", sa.Column(name, sa.Double(), nullable=True))
    for name in ENDS:
        op.add_column("bulks", sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
        counted = sa.text(
            f"UPDATE bulks SET {name} = (SELECT count(*) FROM jobs WHERE jobs.bulk_id = bulks.id AND state = '{name}')"  # noqa: S608
        )
        op.execute(counted)
    op.create_table(
        "usage",
        sa.Column("tenant_id", sa.String(length=40), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("cost", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_usage_tenant_id_tenants"),
        sa.PrimaryKeyConstraint("tenant_id", "day", name="pk_usage"),
    )
    op.create_table(
        "leaders",
        sa.Column("duty", sa.String(length=40), nullable=False),
        sa.Column("owner", sa.String(length=80), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("duty", name="pk_leaders"),
    )
    op.create_table(
        "garbage",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_garbage"),
    )
    op.create_index("ix_garbage_since", "garbage", ["since"])
    _add_job_columns()
    _fill_flows()
    _replace_indexes(drop=EARLIER, create=INDEXES)


def downgrade() -> None:
    """Downgrade the schema."""
    _replace_indexes(drop=INDEXES, create=EARLIER)
    for name in ("retry_of", "deadline_at", "lane", "flow"):
        op.drop_column("jobs", name)
    for table in ("garbage", "leaders", "usage"):
        op.drop_table(table)
    for name in ENDS:
        op.drop_column("bulks", name)
    for name in ("keep_jobs_days", "keep_prompts_days", "keep_images_days", "cost_per_day"):
        op.drop_column("tenants", name)
    for name in ("max_running", "max_queued", "requests_per_minute", "weight"):
        op.drop_column("tenants", name)


def _add_job_columns() -> None:
    # The default also applies to rows of the older code: an empty flow is a queue of its own until it is drained.
    op.add_column("jobs", sa.Column("flow", sa.String(length=40), nullable=False, server_default=""))
    op.add_column("jobs", sa.Column("lane", sa.Integer(), nullable=True))
    op.add_column("jobs", sa.Column("deadline_at", sa.Double(), nullable=True))
    op.add_column("jobs", sa.Column("retry_of", sa.String(length=40), nullable=True))


def _fill_flows() -> None:
    """Set the queue keys of jobs that have not ended, and let them be released again, which gives them a lane. A few
    rows in each transaction.
    """
    fill = sa.text(
        "UPDATE jobs SET flow = coalesce(bulk_id, tenant_id),"
        " released_at = CASE WHEN state = 'queued' THEN NULL ELSE released_at END"
        " WHERE id IN (SELECT id FROM jobs WHERE flow = '' AND state IN ('queued', 'running') LIMIT 5000)"
    )
    with op.get_context().autocommit_block():
        while op.get_bind().execute(fill).rowcount:
            pass


def _replace_indexes(drop: list[tuple[str, list[str], str]], create: list[tuple[str, list[str], str]]) -> None:
    """Replace indexes; on PostgreSQL outside a transaction, so that no writer has to wait."""
    postgres = op.get_bind().dialect.name == "postgresql"
    with op.get_context().autocommit_block():
        for name, _, _ in drop:
            op.drop_index(name, "jobs", postgresql_concurrently=postgres)
        for name, columns, condition in create:
            op.create_index(
                name,
                "jobs",
                columns,
                unique=name in UNIQUE,
                sqlite_where=sa.text(condition),
                postgresql_where=sa.text(condition),
                postgresql_concurrently=postgres,
            )
