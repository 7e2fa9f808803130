"""States of the orders to cancel what waits: they are kept after their end, so that clients learn of it.

Safe while programs of revision 0025 run. Their dispatchers delete an order that ends, and go on with a stopped one.

Revision: 0026
Revises: 0025
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None
serves_from = "0004"


def upgrade() -> None:
    """Upgrade the schema. Can be repeated after an interruption."""
    present = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("cancellations")}
    if "state" not in present:
        op.add_column("cancellations", sa.Column("state", sa.String(10), nullable=False, server_default="running"))


def downgrade() -> None:
    """Downgrade the schema. Orders that have ended are deleted: without a state, they would begin again."""
    op.execute("DELETE FROM cancellations WHERE state <> 'running'")
    op.drop_column("cancellations", "state")
