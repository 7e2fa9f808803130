"""The tables that decide which jobs are accepted and which wait: pauses, the keys of unique jobs, and orders to cancel
what waits.
"""

from __future__ import annotations

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from limner_shared.db.table_base import Base
from limner_shared.domain.cancellations import CancellationState


class Pause(Base):
    """A model or a tenant whose queued jobs wait until it is resumed, or until a time; or a worker that takes none.

    `kind` is a `domain.pauses.PauseKind`; `subject` is the model's name, or the id of the tenant or worker.
    """

    __tablename__ = "pauses"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    subject: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str | None] = mapped_column(String(200))
    until: Mapped[float | None]
    paused_at: Mapped[float]
    actor: Mapped[str] = mapped_column(String(40))
    __table_args__ = (UniqueConstraint("kind", "subject"),)


class UniqueKey(Base):
    """The job that holds, or held last, a tenant's unique key; see `ledger.unique`.

    `digest` is the SHA-256 of the key: it may contain words, and this row outlives those of the job. The foreign key is
    checked at the commit, because the row is written before its job.
    """

    __tablename__ = "unique_keys"
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    scope: Mapped[str] = mapped_column(String(80), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    job_id: Mapped[str] = mapped_column(
        ForeignKey("jobs.id", ondelete="CASCADE", deferrable=True, initially="DEFERRED"), index=True
    )
    kept_until: Mapped[float | None]


class Cancellation(Base):
    """A tenant's order to cancel its jobs that wait, all or those of a model and a priority class; see
    `ledger.cancellations`.

    It is for the jobs up to `last_job`, and ends once none of them waits, or when the tenant stops it. `canceled`
    counts those that it ended.
    """

    __tablename__ = "cancellations"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), index=True)
    model: Mapped[str | None] = mapped_column(String(64))
    priority: Mapped[str | None] = mapped_column(String(10))
    last_job: Mapped[str] = mapped_column(String(40))
    canceled: Mapped[int] = mapped_column(default=0)
    ordered_at: Mapped[float]
    state: Mapped[str] = mapped_column(String(10), server_default=CancellationState.RUNNING.value)
