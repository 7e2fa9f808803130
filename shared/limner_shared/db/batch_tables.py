"""The tables of OpenAI's batches: a batch is a bulk that was read from an uploaded file."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ForeignKey, Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from limner_shared.db.table_base import Base, NullableJson, partial_index

# As in `tables`: literal SQL, so that PostgreSQL uses the partial indexes.
OPEN: Final = "state IN ('validating', 'in_progress', 'finalizing')"
ENDED: Final = "ended_at IS NOT NULL"


class Batch(Base):
    """A batch. While its file is read, and while its output is measured, a web process holds a lease on it.

    `attempt` counts the claims and is the fencing token. `bulk_id` is not a foreign key, so that retention may delete
    the bulk first; `total`, `completed` and `failed` are copied from the bulk when the batch ends.
    """

    __tablename__ = "batches"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    state: Mapped[str] = mapped_column(String(12))  # BatchState
    outcome: Mapped[str | None] = mapped_column(String(12))  # while finalizing: the BatchState that follows
    endpoint: Mapped[str] = mapped_column(String(60))
    input_file_id: Mapped[str] = mapped_column(String(40))
    output_file_id: Mapped[str | None] = mapped_column(String(40))
    error_file_id: Mapped[str | None] = mapped_column(String(40))
    output_seconds: Mapped[float]  # how long the output files are kept
    window: Mapped[str] = mapped_column("completion_window", String(8))
    origin: Mapped[str] = mapped_column(String(300))  # the service's, for URLs in the output
    extra: Mapped[dict[str, Any] | None] = mapped_column(NullableJson)  # the client's own metadata
    errors: Mapped[dict[str, Any] | None] = mapped_column(NullableJson)  # {"data": […]}: why its file was refused
    bulk_id: Mapped[str | None] = mapped_column(String(40))
    total: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    completed: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    failed: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    attempt: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    lease_until: Mapped[float | None]
    created_at: Mapped[float]
    expires_at: Mapped[float]
    in_progress_at: Mapped[float | None]
    finalizing_at: Mapped[float | None]
    ended_at: Mapped[float | None]
    __table_args__ = (
        Index("ix_batches_listed", "tenant_id", "id"),
        Index("ix_batches_open", "id", **partial_index(OPEN)),
        Index("ix_batches_ended", "ended_at", **partial_index(ENDED)),
    )


class BatchLine(Base):
    """What a line of a batch's file says beside its job: its `custom_id`, and the form of its answer.

    It is found by its job's bulk and line. It outlives its job, so that the output has a line for each request.
    """

    __tablename__ = "batch_lines"
    bulk_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    line: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    custom_id: Mapped[str] = mapped_column(String(255))
    output: Mapped[dict[str, Any]]  # image_order.Output
    __table_args__ = (UniqueConstraint("bulk_id", "custom_id"),)
