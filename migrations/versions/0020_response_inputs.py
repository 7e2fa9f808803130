"""The input items of responses: a new table, whose rows the database deletes with prompts and jobs.

Safe while the previous release is running: its responses have no items, and what it deletes takes the items along.

Revision: 0020
Revises: 0019
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None
serves_from = "0004"

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
FORGOTTEN = "(new.forgotten & 2) <> 0 AND (old.forgotten & 2) = 0"
"""The prompt is deleted by this update."""
FORGET = "DELETE FROM response_inputs WHERE job_id = new.id;"
POSTGRESQL = (
    f"""CREATE OR REPLACE FUNCTION forget_response_input() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN {FORGET} RETURN NULL; END $$""",
    "DROP TRIGGER IF EXISTS forget_response_input ON jobs",
    f"""CREATE TRIGGER forget_response_input AFTER UPDATE OF forgotten ON jobs
    FOR EACH ROW WHEN ({FORGOTTEN}) EXECUTE FUNCTION forget_response_input()""",
)
SQLITE = (
    f"""CREATE TRIGGER IF NOT EXISTS forget_response_input AFTER UPDATE OF forgotten ON jobs
    WHEN {FORGOTTEN} BEGIN {FORGET} END""",
)


def upgrade() -> None:
    """Upgrade the schema. Can be repeated after an interruption."""
    bind = op.get_bind()
    if not sa.inspect(bind).has_table("response_inputs"):
        name = op.f("fk_response_inputs_job_id_jobs")
        op.create_table(
            "response_inputs",
            sa.Column("job_id", sa.String(40), nullable=False),
            sa.Column("items", JSON, nullable=False),
            sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=name, ondelete="CASCADE"),
            sa.PrimaryKeyConstraint("job_id", name=op.f("pk_response_inputs")),
        )
    for statement in POSTGRESQL if bind.dialect.name == "postgresql" else SQLITE:
        op.execute(statement)


def downgrade() -> None:
    """Downgrade the schema."""
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    op.execute(f"DROP TRIGGER forget_response_input{' ON jobs' if on_postgresql else ''}")
    if on_postgresql:
        op.execute("DROP FUNCTION forget_response_input()")
    op.drop_table("response_inputs")
