"""Similarity search: a vector of each picture that the evaluator has seen.

Safe while the previous release is running: its workers store pictures without a vector, and the database deletes the
vector of a picture that it deletes.

Revision: 0019
Revises: 0018
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None
serves_from = "0004"


def upgrade() -> None:
    """Upgrade the schema. Can be repeated after an interruption."""
    if not sa.inspect(op.get_bind()).has_table("image_embeddings"):
        op.create_table(
            "image_embeddings",
            sa.Column("image_id", sa.String(40), nullable=False),
            sa.Column("tenant_id", sa.String(40), nullable=False),
            sa.Column("encoder", sa.String(64), nullable=False),
            sa.Column("vector", sa.LargeBinary(), nullable=False),
            sa.ForeignKeyConstraint(
                ["image_id"], ["images.id"], name=op.f("fk_image_embeddings_image_id_images"), ondelete="CASCADE"
            ),
            sa.PrimaryKeyConstraint("image_id", name=op.f("pk_image_embeddings")),
        )
        # The table is empty: building its index blocks no writer.
        op.create_index(
            op.f("ix_image_embeddings_tenant_id_encoder_image_id"),
            "image_embeddings",
            ["tenant_id", "encoder", "image_id"],
        )


def downgrade() -> None:
    """Downgrade the schema."""
    op.drop_table("image_embeddings")
