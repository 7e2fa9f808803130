"""Favourites and tags, the words by which jobs are found, shared secrets, and jobs with deleted messages to remove.

Safe while the previous release is running: labels are deleted with their jobs by the database. Labels that the previous
version's retention leaves behind when it deletes a prompt or an image are deleted with the job. The dispatcher adds the
words of jobs that were there before, or that the previous release inserts.

Revision: 0012
Revises: 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from limner_shared.db.migration_tools import NewIndex, build_indexes, drop_indexes

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None
serves_from = "0004"

FORGOTTEN = "(new.forgotten & 2) <> 0 AND (old.forgotten & 2) = 0"
"""The prompt is deleted by this update."""
FORGET = "DELETE FROM job_words WHERE job_id = new.id;"
POSTGRESQL = (
    "CREATE INDEX ix_job_words_words ON job_words USING gin (words)",
    f"CREATE FUNCTION forget_words() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {FORGET} RETURN NULL; END $$",
    f"""CREATE TRIGGER forget_words AFTER UPDATE OF forgotten ON jobs
    FOR EACH ROW WHEN ({FORGOTTEN}) EXECUTE FUNCTION forget_words()""",
)
ADD = "INSERT INTO job_word_index (rowid, words) VALUES (new.id, new.words);"
REMOVE = """INSERT INTO job_word_index (job_word_index, rowid, words) VALUES ('delete', old.id, old.words);
    INSERT OR IGNORE INTO job_word_purge VALUES (1);"""
SQLITE = (
    """CREATE VIRTUAL TABLE job_word_index USING fts5(words, content='job_words', content_rowid='id', detail=none,
    tokenize="unicode61 remove_diacritics 0 categories 'L* M* N* Co' tokenchars '='")""",
    "CREATE TABLE job_word_purge (due INTEGER PRIMARY KEY)",
    f"CREATE TRIGGER job_words_inserted AFTER INSERT ON job_words BEGIN {ADD} END",
    f"CREATE TRIGGER job_words_deleted AFTER DELETE ON job_words BEGIN {REMOVE} END",
    f"CREATE TRIGGER job_words_updated AFTER UPDATE ON job_words BEGIN {REMOVE} {ADD} END",
    f"CREATE TRIGGER forget_words AFTER UPDATE OF forgotten ON jobs WHEN {FORGOTTEN} BEGIN {FORGET} END",
)
SQLITE_DROPPED = ("DROP TABLE job_word_index", "DROP TABLE job_word_purge")

CREATED = [
    NewIndex("ix_jobs_history_due", "jobs", ["id"], "forgotten >= 4 AND finished_at IS NOT NULL"),
    NewIndex("ix_jobs_unindexed", "jobs", ["id"], "NOT indexed"),
    NewIndex("ix_jobs_done", "jobs", ["model", "finished_at"], "state = 'succeeded'"),
]


def upgrade() -> None:
    """Upgrade the schema; on PostgreSQL without blocking writers. Can be repeated after an interruption."""
    inspected = sa.inspect(op.get_bind())
    if not inspected.has_table("labels"):
        _create_labels()
    if not inspected.has_table("job_words"):
        _create_words()
    if not inspected.has_table("secrets"):
        op.create_table(
            "secrets",
            sa.Column("name", sa.String(40), nullable=False),
            sa.Column("value", sa.String(64), nullable=False),
            sa.PrimaryKeyConstraint("name", name=op.f("pk_secrets")),
        )
    if "indexed" not in {column["name"] for column in inspected.get_columns("jobs")}:
        op.add_column("jobs", sa.Column("indexed", sa.Boolean(), server_default=sa.false(), nullable=False))
    build_indexes(CREATED)


def downgrade() -> None:
    """Downgrade the schema."""
    drop_indexes(CREATED)
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    op.execute("DROP TRIGGER forget_words ON jobs" if on_postgresql else "DROP TRIGGER forget_words")
    op.drop_table("job_words")
    for statement in ("DROP FUNCTION forget_words()",) if on_postgresql else SQLITE_DROPPED:
        op.execute(statement)
    op.drop_column("jobs", "indexed")
    op.drop_table("labels")
    op.drop_table("secrets")


def _create_labels() -> None:
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


def _create_words() -> None:
    op.create_table(
        "job_words",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("job_id", sa.String(40), nullable=False),
        sa.Column("tenant_id", sa.String(40), nullable=False),
        sa.Column("words", sa.Text().with_variant(postgresql.TSVECTOR(), "postgresql"), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_words_job_id_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_words")),
        sa.UniqueConstraint("job_id", name=op.f("uq_job_words_job_id")),
    )
    op.create_index(op.f("ix_job_words_tenant_id_id"), "job_words", ["tenant_id", "id"])
    for statement in POSTGRESQL if op.get_bind().dialect.name == "postgresql" else SQLITE:
        op.execute(statement)
