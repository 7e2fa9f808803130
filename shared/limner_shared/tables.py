"""The database's tables and the conventions they share. Only the ledger writes jobs, images, bulks and events."""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import (
    JSON,
    BigInteger,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
Json = JSON().with_variant(JSONB(), "postgresql")


def _partial(condition: str) -> dict[str, Any]:
    """Index only the rows of a condition: the jobs that are done, most of them in time, cost these indexes nothing."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


class Base(DeclarativeBase):
    """Times are seconds since 1970 (float64) by the database's clock: one lease arithmetic for both."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {float: Double, dict[str, Any]: Json}


class Tenant(Base):
    """Who pays, is limited and is served fairly."""

    __tablename__ = "tenants"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    created_at: Mapped[float]


class ApiKey(Base):
    """A credential of a tenant. The secret itself is never stored: `digest` is its SHA-256 in hex."""

    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    label: Mapped[str] = mapped_column(String(100))
    digest: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[float]
    revoked_at: Mapped[float | None]


class Bulk(Base):
    """Many jobs submitted as one. While `loading`, none of its jobs is released."""

    __tablename__ = "bulks"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    state: Mapped[str] = mapped_column(String(10))  # loading, open, canceled
    total: Mapped[int]
    created_at: Mapped[float]
    touched_at: Mapped[float]  # while loading: when its loader last wrote a line, and so was alive
    __table_args__ = (Index(None, "tenant_id", "id"), Index(None, "state"))


class IdempotencyKey(Base):
    """What a tenant's `Idempotency-Key` has made: the same request again is answered with the same job or bulk."""

    __tablename__ = "idempotency_keys"
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))  # SHA-256 of the request
    resource_id: Mapped[str] = mapped_column(String(40))
    created_at: Mapped[float] = mapped_column(index=True)


class Job(Base):
    """One accepted request. It is its own outbox: `queued` without `released_at` means "to be published".

    `attempt` counts claims and is the fencing token; `losses` counts the attempts whose worker was lost; `version`
    goes up with every change that a client can see.
    """

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    bulk_id: Mapped[str | None] = mapped_column(ForeignKey("bulks.id"))
    bulk_line: Mapped[int | None]
    state: Mapped[str] = mapped_column(String(10))
    version: Mapped[int] = mapped_column(default=1)
    priority: Mapped[int]
    model: Mapped[str] = mapped_column(String(64))
    cost: Mapped[int]
    spec: Mapped[dict[str, Any]]
    extra: Mapped[dict[str, Any]]  # the client's own metadata
    attempt: Mapped[int] = mapped_column(default=0)
    losses: Mapped[int] = mapped_column(default=0)
    owner: Mapped[str | None] = mapped_column(String(80))
    lease_until: Mapped[float | None]
    released_at: Mapped[float | None]
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    error_code: Mapped[str | None] = mapped_column(String(40))
    error_message: Mapped[str | None] = mapped_column(Text)
    error_retryable: Mapped[bool | None]
    __table_args__ = (
        UniqueConstraint("bulk_id", "bulk_line"),
        Index("ix_jobs_to_release", "model", "priority", "id", **_partial("state = 'queued' AND released_at IS NULL")),
        Index("ix_jobs_released", "model", "released_at", **_partial("state = 'queued' AND released_at IS NOT NULL")),
        Index("ix_jobs_leased", "lease_until", **_partial("state = 'running'")),
        Index(None, "tenant_id", "id"),
        Index(None, "bulk_id", "state"),
    )


class Image(Base):
    """One result. `receipt` is what is needed to make the same bytes again."""

    __tablename__ = "images"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    image_index: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    media_type: Mapped[str] = mapped_column(String(20))
    width: Mapped[int]
    height: Mapped[int]
    size_bytes: Mapped[int]
    seed: Mapped[int] = mapped_column(BigInteger)
    receipt: Mapped[dict[str, Any]]
    created_at: Mapped[float]
    __table_args__ = (UniqueConstraint("job_id", "image_index"),)


class Event(Base):
    """What happened to a job, in order; never changed."""

    __tablename__ = "events"
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    attempt: Mapped[int]
    kind: Mapped[str] = mapped_column(String(20))  # submitted, claimed, requeued, succeeded, failed, canceled
    detail: Mapped[dict[str, Any]]
    created_at: Mapped[float]
