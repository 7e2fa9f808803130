"""Webhooks: endpoints, their secrets, events, deliveries and attempts; the webhook of a job and of a bulk.

Safe while the previous release is running: it inserts jobs and bulks without a webhook. The jobs that its processes end
meanwhile cause no events, so webhooks should be used only after its last process has stopped.

Revision: 0011
Revises: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None
serves_from = "0004"

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
OPEN = sa.text("state IN ('pending', 'sending')")
ENDED = sa.text("ended_at IS NOT NULL")


def upgrade() -> None:
    """Upgrade the schema."""
    for table in ("jobs", "bulks"):
        op.add_column(table, sa.Column("webhook", JSON, nullable=True))
    _create_endpoints()
    _create_deliveries()


def downgrade() -> None:
    """Downgrade the schema."""
    for table in ("attempts", "deliveries", "events", "secrets", "endpoints"):
        op.drop_table(f"webhook_{table}")
    for table in ("bulks", "jobs"):
        op.drop_column(table, "webhook")


def _create_endpoints() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("tenant_id", sa.String(40), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("event_types", JSON, nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_webhook_endpoints_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoints")),
    )
    op.create_index(op.f("ix_webhook_endpoints_tenant_id_id"), "webhook_endpoints", ["tenant_id", "id"])
    op.create_table(
        "webhook_secrets",
        sa.Column("owner_id", sa.String(40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("secret", sa.String(80), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("owner_id", "number", name=op.f("pk_webhook_secrets")),
    )


def _create_deliveries() -> None:
    op.create_table(
        "webhook_events",
        sa.Column("id", sa.String(40), nullable=False),
        sa.Column("tenant_id", sa.String(40), nullable=False),
        sa.Column("type", sa.String(40), nullable=False),
        sa.Column("subject_id", sa.String(40), nullable=True),
        sa.Column("data", JSON, nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name=op.f("fk_webhook_events_tenant_id_tenants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_events")),
    )
    op.create_index(op.f("ix_webhook_events_subject_id"), "webhook_events", ["subject_id"])
    op.create_table("webhook_deliveries", *_delivery_columns())
    index = op.create_index
    columns = {"due": ["receiver", "next_at"], "deadline": ["deadline_at"], "ended": ["ended_at"]}
    for name, where in (("due", OPEN), ("deadline", OPEN), ("ended", ENDED)):
        index(
            f"ix_webhook_deliveries_{name}",
            "webhook_deliveries",
            columns[name],
            sqlite_where=where,
            postgresql_where=where,
        )
    for names in (
        ["event_id"],
        ["tenant_id", "id"],
        ["tenant_id", "state", "id"],
        ["tenant_id", "endpoint_id", "state", "id"],
    ):
        index(op.f(f"ix_webhook_deliveries_{'_'.join(names)}"), "webhook_deliveries", names)
    op.create_table("webhook_attempts", *_attempt_columns())
    index(op.f("ix_webhook_attempts_delivery_id"), "webhook_attempts", ["delivery_id"])


def _delivery_columns() -> list[sa.schema.SchemaItem]:
    names = ("event_id", "tenant_id")
    tables = {"event_id": "webhook_events", "tenant_id": "tenants"}
    return [
        sa.Column("id", sa.String(40), nullable=False),
        *(sa.Column(name, sa.String(40), nullable=False) for name in names),
        sa.Column("endpoint_id", sa.String(40), nullable=True),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("receiver", sa.String(80), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        *(sa.Column(name, sa.Integer(), server_default="0", nullable=False) for name in ("attempt", "tries")),
        *(sa.Column(name, sa.Double(), nullable=False) for name in ("next_at", "deadline_at", "created_at")),
        sa.Column("ended_at", sa.Double(), nullable=True),
        *(
            sa.ForeignKeyConstraint(
                [name], [f"{tables[name]}.id"], name=op.f(f"fk_webhook_deliveries_{name}_{tables[name]}")
            )
            for name in names
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
    ]


def _attempt_columns() -> list[sa.schema.SchemaItem]:
    key = op.f("fk_webhook_attempts_delivery_id_webhook_deliveries")
    return [
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("delivery_id", sa.String(40), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("address", sa.String(60), nullable=True),
        sa.Column("request_headers", JSON, nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("error", sa.String(40), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["delivery_id"], ["webhook_deliveries.id"], name=key),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_attempts")),
    ]
