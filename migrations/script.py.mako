"""${message}

Revision: ${up_revision}
Revises: ${down_revision | comma,n}
"""
# Rules of a deploy that rolls: the programs before and after this migration run beside each other on the schema after.
#
# 1. Expand first: add tables, and columns that are nullable or have a server default. No rename, no change of a type,
#    no NOT NULL on a column that is there, no value that the program before could not read.
# 2. Contract one release later: drop only what no program since `serves_from` reads or writes.
# 3. `serves_from` is the oldest revision whose programs run on this schema: a program that knows that revision serves
#    the database, however new it is. An expanding migration repeats the value of the one before; a contracting one
#    sets the first revision whose programs do without what is dropped.
# 4. Indexes have a migration of their own, with `migrating.build_indexes`: they are built beside writers and outside of
#    a transaction, so that it must be possible to run that migration again from any point.
# 5. A change of a large table's rows goes in batches, each a transaction, as often as there are rows to be changed.
# 6. Whatever must be true of rows that the program before still writes is not done here but where they are read.

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
    """Take the schema forward."""
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """Take the schema back."""
    ${downgrades if downgrades else "pass"}
