"""The tables with which a tenant finds its jobs and images. Importing this module defines all tables."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, LargeBinary, String, Text
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from limner_shared.db.table_base import Base
from limner_shared.db.tables import Image, Job, Tenant


class Secret(Base):
    """A random secret that all processes share, made by the first that needs it."""

    __tablename__ = "secrets"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[str] = mapped_column(String(64))


class Label(Base):
    """A tag of a job or of one of its images, or that it is a favourite (`domain.labels`).

    `image_id` is empty for a label of the job itself. The key lists the newest jobs with a label.
    """

    __tablename__ = "labels"
    tenant_id: Mapped[str] = mapped_column(ForeignKey(Tenant.id), primary_key=True)
    label: Mapped[str] = mapped_column(String(50), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey(Job.id, ondelete="CASCADE"), primary_key=True, index=True)
    image_id: Mapped[str] = mapped_column(String(40), primary_key=True)


class JobWords(Base):
    """The words by which a job is found (`domain.search_words`). Jobs whose prompt was deleted have none.

    PostgreSQL finds them by a GIN index. SQLite has a full-text index of this table, `WORD_INDEX`; the database itself
    updates it, and deletes a job's words once its prompt is forgotten, whatever release deletes it.
    """

    __tablename__ = "job_words"
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey(Job.id, ondelete="CASCADE"), unique=True)
    tenant_id: Mapped[str] = mapped_column(String(40))
    words: Mapped[str] = mapped_column(Text().with_variant(TSVECTOR(), "postgresql"))
    __table_args__ = (
        Index(None, "tenant_id", "id"),
        Index("ix_job_words_words", "words", postgresql_using="gin").ddl_if("postgresql"),
    )


WORD_INDEX: Final = "job_word_index"
"""SQLite's full-text index of `job_words`, an FTS5 table."""
WORD_PURGE: Final = "job_word_purge"
"""SQLite's mark that deleted words are still in the files of the full-text index: one row if there are any."""


class ImageEmbedding(Base):
    """The vector by which an image is compared with others of its tenant (`domain.embeddings`).

    Images of models without an encoder have none. The index reads a tenant's newest vectors of one encoder.
    """

    __tablename__ = "image_embeddings"
    image_id: Mapped[str] = mapped_column(ForeignKey(Image.id, ondelete="CASCADE"), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(40))
    encoder: Mapped[str] = mapped_column(String(64))
    vector: Mapped[bytes] = mapped_column(LargeBinary)
    __table_args__ = (Index(None, "tenant_id", "encoder", "image_id"),)
