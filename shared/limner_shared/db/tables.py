"""The database's tables and the conventions they share. Only the ledger writes jobs, images, bulks and events."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
    false,
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


# The conditions of the partial indexes, as literal SQL: a query that uses the same words is sure to be served by them,
# which one with bound parameters is not once PostgreSQL has made a generic plan.
QUEUED: Final = "state = 'queued'"
WAITING: Final = "state = 'queued' AND released_at IS NULL"
RELEASED: Final = "state = 'queued' AND released_at IS NOT NULL"
RUNNING: Final = "state = 'running'"
ACTIVE: Final = "(state = 'running' OR (state = 'queued' AND released_at IS NOT NULL))"
WITH_DEADLINE: Final = "deadline_at IS NOT NULL AND state IN ('queued', 'running')"
FINISHED: Final = "finished_at IS NOT NULL"
RETRIED: Final = "retry_of IS NOT NULL"
DEAD: Final = "error_code = 'worker_lost'"
SHARED: Final = "recipe IS NOT NULL"
GIVEN_UP: Final = "job_id IS NULL"


def _partial(condition: str) -> dict[str, Any]:
    """Index only the rows of a condition: the jobs that are done, most of them in time, cost these indexes nothing."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


class Base(DeclarativeBase):
    """Times are seconds since 1970 (float64) by the database's clock: one lease arithmetic for both."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {float: Double, dict[str, Any]: Json}


class Tenant(Base):
    """Who pays, is limited and is served fairly. A limit or a retention that is None does not apply."""

    __tablename__ = "tenants"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    created_at: Mapped[float]
    weight: Mapped[float] = mapped_column(default=1.0, server_default="1")
    requests_per_minute: Mapped[int | None]
    max_queued: Mapped[int | None]  # jobs
    max_running: Mapped[int | None]  # jobs in the window or running
    cost_per_day: Mapped[int | None] = mapped_column(BigInteger)  # cost units accepted in a day, UTC
    keep_images_days: Mapped[float | None]
    keep_prompts_days: Mapped[float | None]
    keep_jobs_days: Mapped[float | None]
    share_results: Mapped[bool] = mapped_column(default=False, server_default=false())  # equal requests, one result


class Usage(Base):
    """Cost units that a tenant with a daily limit has been granted in a day (`YYYY-MM-DD`, UTC)."""

    __tablename__ = "usage"
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    day: Mapped[str] = mapped_column(String(10), primary_key=True, index=True)
    cost: Mapped[int] = mapped_column(BigInteger)


class Leader(Base):
    """Which of many processes is the active one for a duty, and until when unless it says so again."""

    __tablename__ = "leaders"
    duty: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(80))
    until: Mapped[float]


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
    """Many jobs submitted as one. Only while it is `open` is any of its jobs released.

    While `loading`, `total` counts the lines so far.
    """

    __tablename__ = "bulks"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    state: Mapped[str] = mapped_column(String(10))  # loading, open, paused, canceled, dropped
    total: Mapped[int]
    succeeded: Mapped[int] = mapped_column(default=0, server_default="0")  # counted as jobs end: a poll costs the same
    failed: Mapped[int] = mapped_column(default=0, server_default="0")  # however large the bulk is
    canceled: Mapped[int] = mapped_column(default=0, server_default="0")
    skipped: Mapped[dict[str, Any] | None]  # lines that were left out: how many, and what is wrong with the first
    created_at: Mapped[float]
    touched_at: Mapped[float]  # while loading: when its loader last wrote a line, and so was alive
    __table_args__ = (Index(None, "tenant_id", "id"), Index(None, "state"))


class IdempotencyKey(Base):
    """What a tenant's `Idempotency-Key` has made: the same request again is answered with the same job or bulk."""

    __tablename__ = "idempotency_keys"
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))  # SHA-256 of the request
    resource_id: Mapped[str] = mapped_column(String(40), index=True)
    created_at: Mapped[float] = mapped_column(index=True)


class Job(Base):
    """One accepted request. It is its own outbox: `queued` without `released_at` means "to be published".

    `attempt` counts claims and is the fencing token; `losses` counts the attempts whose worker was lost; `version`
    goes up with every change that a client can see. `queue_key` is the line in which it waits for its release: its bulk,
    or its tenant's single jobs. `lane` is where it stands once released (see `jobs.Lane`). `forgotten` says what
    retention has done (see `ledger.retention`): its index finds what is due without reading what is done.
    """

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    bulk_id: Mapped[str | None] = mapped_column(ForeignKey("bulks.id"))
    bulk_line: Mapped[int | None]
    queue_key: Mapped[str] = mapped_column("flow", String(40))
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
    lane: Mapped[int | None]
    deadline_at: Mapped[float | None]
    retry_of: Mapped[str | None] = mapped_column(String(40))  # the dead job that this one does again
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    error_code: Mapped[str | None] = mapped_column(String(40))
    error_message: Mapped[str | None] = mapped_column(Text)
    error_retryable: Mapped[bool | None]
    interpretation: Mapped[dict[str, Any] | None]  # what was made of a description (`conditions.Interpretation`)
    presentation: Mapped[str | None] = mapped_column(Text)  # the finished picture in a sentence or two
    forgotten: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    __table_args__ = (
        UniqueConstraint("bulk_id", "bulk_line"),
        Index("ix_jobs_lines", "model", "priority", "tenant_id", "flow", "id", **_partial(WAITING)),
        Index("ix_jobs_waiting", "model", "priority", "flow", "id", **_partial(WAITING)),  # of the version before
        Index("ix_jobs_released", "model", "lane", "released_at", **_partial(RELEASED)),
        Index("ix_jobs_active", "tenant_id", "model", **_partial(ACTIVE)),
        Index("ix_jobs_leased", "lease_until", **_partial(RUNNING)),
        Index("ix_jobs_deadline", "deadline_at", **_partial(WITH_DEADLINE)),
        Index("ix_jobs_dead", "tenant_id", "id", **_partial(DEAD)),
        Index(None, "tenant_id", "id"),
        Index(None, "tenant_id", "state", "id"),
        Index(None, "tenant_id", "model", "state", "id"),
        Index("ix_jobs_ended", "tenant_id", "forgotten", "finished_at", **_partial(FINISHED)),
        Index("ix_jobs_retry_of", "retry_of", unique=True, **_partial(RETRIED)),
        Index(None, "bulk_id", "state", "id"),
    )


class Image(Base):
    """One result. `receipt` is what is needed to make the same bytes again.

    `deduplication_key` is set where the tenant lets equal requests share a result: a hash of all that decides the picture.
    """

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
    alt_text: Mapped[str | None] = mapped_column(Text)
    deduplication_key: Mapped[str | None] = mapped_column("recipe", String(64))
    created_at: Mapped[float]
    __table_args__ = (
        UniqueConstraint("job_id", "image_index"),
        Index("ix_images_recipe", "recipe", **_partial(SHARED)),
    )


class Garbage(Base):
    """Blobs whose image was deleted; they go too, once nobody has referred to them for a while."""

    __tablename__ = "garbage"
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    since: Mapped[float] = mapped_column(index=True)


class Input(Base):
    """That a job starts from a stored picture. Without a job it is given up; the blob goes once no job has it."""

    __tablename__ = "inputs"
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"), index=True)
    __table_args__ = (Index("ix_inputs_given_up", "id", **_partial(GIVEN_UP)),)


class Event(Base):
    """What happened to a job, in order; never changed."""

    __tablename__ = "events"
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    attempt: Mapped[int]
    kind: Mapped[str] = mapped_column(String(20))  # submitted, claimed, requeued, succeeded, failed, canceled
    detail: Mapped[dict[str, Any]]
    created_at: Mapped[float]


class Conversation(Base):
    """A talk in which each message makes a picture or changes the one before."""

    __tablename__ = "conversations"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    title: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[float]
    touched_at: Mapped[float]
    __table_args__ = (Index(None, "tenant_id", "id"),)


class ConversationTurn(Base):
    """One message and the job that it became. An edited message is another turn of the same parent.

    Its job may be deleted before it (retention), so `job_id` is no foreign key.
    """

    __tablename__ = "turns"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id"))
    parent_id: Mapped[str | None] = mapped_column(String(40))
    job_id: Mapped[str] = mapped_column(String(40), index=True)
    text: Mapped[str] = mapped_column(Text)
    created_at: Mapped[float]
    __table_args__ = (Index(None, "conversation_id", "id"),)
