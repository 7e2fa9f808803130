"""The tables of webhooks. An event is written in the transaction of the state change, with a delivery for each of its
receivers (`db.webhooks.outbox`).
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from limner_shared.db.table_base import Base, Json, NullableJson, partial_index

# As in `tables`: literal SQL, so that PostgreSQL uses the partial indexes.
OPEN: Final = "state IN ('pending', 'sending')"
ENDED: Final = "ended_at IS NOT NULL"


class WebhookEndpoint(Base):
    """A URL of a tenant that receives its events of some types."""

    __tablename__ = "webhook_endpoints"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(String(100))
    url: Mapped[str] = mapped_column(Text)
    event_types: Mapped[list[str]] = mapped_column(Json)
    created_at: Mapped[float]
    updated_at: Mapped[float]
    __table_args__ = (Index(None, "tenant_id", "id"),)


class WebhookSecret(Base):
    """A signing secret of an endpoint, or of a tenant's jobs and bulks: `owner_id` is the id of either.

    The newest has no `expires_at`; the one before it signs too until it expires. They are stored as they are, since a
    signature needs them.
    """

    __tablename__ = "webhook_secrets"
    owner_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    secret: Mapped[str] = mapped_column(String(80))
    created_at: Mapped[float]
    expires_at: Mapped[float | None]


class WebhookEvent(Base):
    """An event for receivers. Its id is the `webhook-id` of every delivery and of every repeat.

    `data` is what its emitter gave; without it, the data are the view of `subject_id`, a job or a bulk. `body` is made
    when the event is sent first, and sent unchanged afterwards; retention deletes it with the job's prompt.
    """

    __tablename__ = "webhook_events"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    type: Mapped[str] = mapped_column(String(40))  # EventType
    subject_id: Mapped[str | None] = mapped_column(String(40), index=True)
    data: Mapped[dict[str, Any] | None] = mapped_column(NullableJson)
    body: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[float]


class WebhookDelivery(Base):
    """One event for one receiver. `attempt` counts claims and is the fencing token; `tries` counts the attempts since
    it was last queued, and decides the backoff.

    `receiver` is the endpoint's id, or stands for the origin of a URL that a job or bulk gave: limits and the circuit
    breaker apply to each receiver. `next_at` is when it is due; while it is sent, when its lease ends. `endpoint_id` is
    not a foreign key, so that the deletion of an endpoint never stops a job from ending.
    """

    __tablename__ = "webhook_deliveries"
    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    event_id: Mapped[str] = mapped_column(ForeignKey("webhook_events.id"), index=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    endpoint_id: Mapped[str | None] = mapped_column(String(40))
    url: Mapped[str] = mapped_column(Text)
    receiver: Mapped[str] = mapped_column(String(80))
    state: Mapped[str] = mapped_column(String(10))  # DeliveryState
    attempt: Mapped[int] = mapped_column(default=0, server_default="0")
    tries: Mapped[int] = mapped_column(default=0, server_default="0")
    next_at: Mapped[float]
    deadline_at: Mapped[float]  # the last time at which it is tried
    created_at: Mapped[float]
    ended_at: Mapped[float | None]
    __table_args__ = (
        Index("ix_webhook_deliveries_due", "receiver", "next_at", **partial_index(OPEN)),
        Index("ix_webhook_deliveries_deadline", "deadline_at", **partial_index(OPEN)),
        Index("ix_webhook_deliveries_ended", "ended_at", **partial_index(ENDED)),
        Index(None, "tenant_id", "id"),
        Index(None, "tenant_id", "state", "id"),
        Index(None, "tenant_id", "endpoint_id", "state", "id"),
    )


class WebhookAttempt(Base):
    """One try at a delivery: what was sent to which address, and what came back."""

    __tablename__ = "webhook_attempts"
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    delivery_id: Mapped[str] = mapped_column(ForeignKey("webhook_deliveries.id"), index=True)
    number: Mapped[int]
    url: Mapped[str] = mapped_column(Text)
    address: Mapped[str | None] = mapped_column(String(60))
    request_headers: Mapped[dict[str, Any]]
    status: Mapped[int | None]  # of the answer
    answer: Mapped[str | None] = mapped_column(Text)  # the beginning of its body
    error: Mapped[str | None] = mapped_column(String(40))
    error_message: Mapped[str | None] = mapped_column(Text)
    seconds: Mapped[float]
    created_at: Mapped[float]
