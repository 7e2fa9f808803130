"""Safety and moderation: three columns of tenants.

Safe while the previous release is running, which ignores them. Its workers judge and sign no pictures, so set them once
all processes are upgraded.

Revision: 0017
Revises: 0016
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None
serves_from = "0004"


def upgrade() -> None:
    """Upgrade the schema. Can be repeated after an interruption."""
    present = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("tenants")}
    columns = (
        sa.Column("safety", sa.String(10), nullable=True),
        sa.Column("blocked_terms", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=True),
        sa.Column("sign_pictures", sa.Boolean(), nullable=True),
    )
    for column in columns:
        if column.name not in present:
            op.add_column("tenants", column)


def downgrade() -> None:
    """Downgrade the schema."""
    for name in ("sign_pictures", "blocked_terms", "safety"):
        op.drop_column("tenants", name)
