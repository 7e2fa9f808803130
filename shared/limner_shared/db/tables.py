"""The database's tables. Only the ledger writes jobs, images, bulks and events. Times are seconds since 1970, by the
database's clock.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, SmallInteger, String, Text, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from limner_shared.db import batch_tables as batch_tables  # noqa: PLC0414 - their tables complete the metadata
from limner_shared.db import file_tables as file_tables  # noqa: PLC0414
from limner_shared.db import response_tables as response_tables  # noqa: PLC0414
from limner_shared.db import webhook_tables as webhook_tables  # noqa: PLC0414
from limner_shared.db.account_tables import ApiKey as ApiKey  # noqa: PLC0414 - one module to import tables from
from limner_shared.db.account_tables import AuditEntry as AuditEntry  # noqa: PLC0414
from limner_shared.db.account_tables import Preset as Preset  # noqa: PLC0414
from limner_shared.db.queue_tables import Cancellation as Cancellation  # noqa: PLC0414
from limner_shared.db.queue_tables import Pause as Pause  # noqa: PLC0414
from limner_shared.db.queue_tables import UniqueKey as UniqueKey  # noqa: PLC0414
from limner_shared.db.table_base import Base, NullableJson, partial_index

# The conditions of the partial indexes, as literal SQL: PostgreSQL uses such an index for a query with the same text,
# but not for one with bound parameters once it has made a generic plan.
QUEUED: Final = "state = 'queued'"
WAITING: Final = "state = 'queued' AND released_at IS NULL AND not_before IS NULL"
SCHEDULED: Final = "state = 'queued' AND not_before IS NOT NULL"
WAITING_BEFORE: Final = "state = 'queued' AND released_at IS NULL"  # of 0.1.0; drop with `ix_jobs_waiting` after 0.2
RELEASED: Final = "state = 'queued' AND released_at IS NOT NULL"
RUNNING: Final = "state = 'running'"
ACTIVE: Final = "(state = 'running' OR (state = 'queued' AND released_at IS NOT NULL))"
WITH_DEADLINE: Final = "deadline_at IS NOT NULL AND state IN ('queued', 'running')"
FINISHED: Final = "finished_at IS NOT NULL"
RETRIED: Final = "retry_of IS NOT NULL"
DONE: Final = "state = 'succeeded'"
DEAD: Final = "error_code = 'worker_lost'"
SHARED: Final = "recipe IS NOT NULL"
GIVEN_UP: Final = "job_id IS NULL"
UNINDEXED: Final = "NOT indexed"
NOT_OF_A_BULK: Final = "bulk_id IS NULL"
HISTORY_DUE: Final = "forgotten >= 4 AND finished_at IS NOT NULL"  # erasure.Forgotten.HISTORY_DUE


class Tenant(Base):
    """A customer: the unit of limits, fairness and retention. A limit or a retention of None does not apply."""

    __tablename__ = "tenants"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    created_at: Mapped[float]
    weight: Mapped[float] = mapped_column(default=1.0, server_default="1")
    requests_per_minute: Mapped[int | None]
    max_queued: Mapped[int | None]  # jobs
    max_running: Mapped[int | None]  # jobs released or running
    cost_per_day: Mapped[int | None] = mapped_column(BigInteger)  # cost units accepted per day, UTC
    keep_images_days: Mapped[float | None]
    keep_prompts_days: Mapped[float | None]
    keep_jobs_days: Mapped[float | None]
    share_results: Mapped[bool] = mapped_column(default=False, server_default=false())  # equal requests, one result
    safety: Mapped[str | None] = mapped_column(String(10))  # SafetyPolicy
    blocked_terms: Mapped[list[str] | None] = mapped_column(NullableJson)  # of prompts
    sign_pictures: Mapped[bool | None]


class Usage(Base):
    """Cost units granted to a tenant with a daily limit on one day (`YYYY-MM-DD`, UTC)."""

    __tablename__ = "usage"
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    day: Mapped[str] = mapped_column(String(10), primary_key=True, index=True)
    cost: Mapped[int] = mapped_column(BigInteger)


class Leader(Base):
    """The leader of a duty among several processes, and when its leadership ends unless it renews it."""

    __tablename__ = "leaders"
    duty: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(80))
    until: Mapped[float]


class Bulk(Base):
    """Many jobs submitted as one. Its jobs are released only while it is `open`.

    `state` is a `domain.bulks.BulkState`. While `loading`, `total` counts the lines read so far.
    """

    __tablename__ = "bulks"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    state: Mapped[str] = mapped_column(String(10))  # BulkState
    total: Mapped[int]
    succeeded: Mapped[int] = mapped_column(default=0, server_default="0")  # counted as jobs end, so that a
    failed: Mapped[int] = mapped_column(default=0, server_default="0")  # poll costs the same for any size
    canceled: Mapped[int] = mapped_column(default=0, server_default="0")
    skipped: Mapped[dict[str, Any] | None]  # lines that were left out: their number, and the first errors
    webhook: Mapped[dict[str, Any] | None] = mapped_column(NullableJson)  # webhooks.Webhook
    duplicates: Mapped[dict[str, Any] | None]  # lines whose unique key another job holds: their number, the first
    created_at: Mapped[float]
    touched_at: Mapped[float]  # while loading: when its loader last reported
    __table_args__ = (Index(None, "tenant_id", "id"), Index(None, "state"))


class IdempotencyKey(Base):
    """The result of a tenant's `Idempotency-Key`: a repeated request is answered with the same job or bulk."""

    __tablename__ = "idempotency_keys"
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))  # SHA-256 of the request
    resource_id: Mapped[str] = mapped_column(String(40), index=True)
    created_at: Mapped[float] = mapped_column(index=True)
    answer: Mapped[dict[str, Any] | None] = mapped_column(NullableJson)  # if the result is no single resource


class Job(Base):
    """One accepted request. It is its own outbox: `queued` without `released_at` means "to be published".

    `attempt` counts claims and is the fencing token. `losses` counts attempts whose worker was lost, `retries` those
    after a retryable error. `version` increases with every change that a client can see. `queue_key` is the queue in
    which it waits for its release: its bulk, or its tenant's single jobs. `lane` is its lane once released (see
    `jobs.Lane`). `forgotten` records what retention has done (see `ledger.retention`): its index finds due jobs without
    reading those that are done.
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
    webhook: Mapped[dict[str, Any] | None] = mapped_column(NullableJson)  # webhooks.Webhook
    attempt: Mapped[int] = mapped_column(default=0)
    losses: Mapped[int] = mapped_column(default=0)
    owner: Mapped[str | None] = mapped_column(String(80))
    lease_until: Mapped[float | None]
    released_at: Mapped[float | None]
    lane: Mapped[int | None]
    deadline_at: Mapped[float | None]
    not_before: Mapped[float | None]  # cleared when due
    retries: Mapped[int] = mapped_column(default=0, server_default="0")
    max_retries: Mapped[int] = mapped_column(default=0, server_default="0")
    retry_of: Mapped[str | None] = mapped_column(String(40))  # the dead letter that this job retries
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    error_code: Mapped[str | None] = mapped_column(String(40))
    error_message: Mapped[str | None] = mapped_column(Text)
    error_retryable: Mapped[bool | None]
    traceparent: Mapped[str | None] = mapped_column(String(55))  # of the request's span, if it is traced
    interpretation: Mapped[dict[str, Any] | None]  # of a description (`conditions.Interpretation`)
    presentation: Mapped[str | None] = mapped_column(Text)  # the finished picture in a sentence or two
    forgotten: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    indexed: Mapped[bool] = mapped_column(default=False, server_default=false())  # has its row in `job_words`, or had
    __table_args__ = (
        UniqueConstraint("bulk_id", "bulk_line"),
        Index("ix_jobs_ready", "model", "priority", "tenant_id", "flow", "id", **partial_index(WAITING)),
        Index("ix_jobs_scheduled", "not_before", **partial_index(SCHEDULED)),
        Index("ix_jobs_waiting", "model", "priority", "flow", "id", **partial_index(WAITING_BEFORE)),
        Index("ix_jobs_released", "model", "lane", "released_at", **partial_index(RELEASED)),
        Index("ix_jobs_active", "tenant_id", "model", **partial_index(ACTIVE)),
        Index("ix_jobs_leased", "lease_until", **partial_index(RUNNING)),
        Index("ix_jobs_deadline", "deadline_at", **partial_index(WITH_DEADLINE)),
        Index("ix_jobs_dead", "tenant_id", "id", **partial_index(DEAD)),
        Index(None, "tenant_id", "id"),
        Index("ix_jobs_not_of_a_bulk", "tenant_id", "id", **partial_index(NOT_OF_A_BULK)),
        Index(None, "tenant_id", "state", "id"),
        Index(None, "tenant_id", "model", "state", "id"),
        Index("ix_jobs_ended", "tenant_id", "forgotten", "finished_at", **partial_index(FINISHED)),
        Index("ix_jobs_history_due", "id", **partial_index(HISTORY_DUE)),
        Index("ix_jobs_done", "model", "finished_at", **partial_index(DONE)),
        Index("ix_jobs_unindexed", "id", **partial_index(UNINDEXED)),
        Index("ix_jobs_retry_of", "retry_of", unique=True, **partial_index(RETRIED)),
        Index(None, "bulk_id", "state", "id"),
    )


class Image(Base):
    """One picture of a job. `receipt` holds what is needed to reproduce its bytes.

    `deduplication_key` is set if the tenant lets equal requests share a result: a hash of everything that determines
    the picture.
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
        Index("ix_images_recipe", "recipe", **partial_index(SHARED)),
    )


class Garbage(Base):
    """Blobs whose image was deleted; they are deleted once no row has referred to them for a while."""

    __tablename__ = "garbage"
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    since: Mapped[float] = mapped_column(index=True)


class Input(Base):
    """A reference from a job to its stored input picture. Without a job it is obsolete; the blob is deleted when no job
    refers to it.
    """

    __tablename__ = "inputs"
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    job_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"), index=True)
    __table_args__ = (Index("ix_inputs_given_up", "id", **partial_index(GIVEN_UP)),)


class Event(Base):
    """A job event. Events are appended in order and never changed."""

    __tablename__ = "events"
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    attempt: Mapped[int]
    kind: Mapped[str] = mapped_column(String(20))  # an `EventKind`
    detail: Mapped[dict[str, Any]]
    created_at: Mapped[float]


class Conversation(Base):
    """A conversation: each message generates a picture or changes the one before."""

    __tablename__ = "conversations"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    title: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[float]
    touched_at: Mapped[float]
    __table_args__ = (Index(None, "tenant_id", "id"), Index(None, "tenant_id", "touched_at"))


class ConversationTurn(Base):
    """One message of a conversation and its job. An edited message is another turn with the same parent.

    Retention may delete the job first, so `job_id` is not a foreign key.
    """

    __tablename__ = "turns"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id"))
    parent_id: Mapped[str | None] = mapped_column(String(40))
    job_id: Mapped[str] = mapped_column(String(40), index=True)
    text: Mapped[str] = mapped_column(Text)
    created_at: Mapped[float]
    __table_args__ = (Index(None, "conversation_id", "id"),)
