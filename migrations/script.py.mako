"""${message}

Revision: ${up_revision}
Revises: ${down_revision | comma,n}
"""
# Rules of rolling deploys: the programs before and after this migration run at the same time, on the schema after it.
#
# 1. Expand first: add tables, and columns that are nullable or have a server default. No rename, no change of a type,
#    no NOT NULL on an existing column, no value that the program before could not read.
# 2. Contract one release later: drop only what no program since `serves_from` reads or writes.
# 3. `serves_from` is the oldest revision whose programs run on this schema: a program that knows that revision supports
#    the database, however new its schema is. An expanding migration repeats the value of the one before; a contracting
#    one sets the first revision whose programs do not use what is dropped.
# 4. Indexes have a migration of their own, with `migration_tools.build_indexes`. They are built outside a transaction
#    and without blocking writers, so it must be possible to run that migration again from any point.
# 5. Change the rows of a large table in batches, each in a transaction, until none is left.
# 6. A condition on rows that the program before still writes cannot be established here, but only where they are read.

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None
serves_from = "0004"


def upgrade() -> None:
    """Upgrade the schema."""
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """Downgrade the schema."""
    ${downgrades if downgrades else "pass"}
