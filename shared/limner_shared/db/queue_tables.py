"""The tables that decide which jobs wait: pauses."""

from __future__ import annotations

from sqlalchemy import String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from limner_shared.db.table_base import Base


class Pause(Base):
    """A model or a tenant whose queued jobs wait until it is resumed, or until a time.

    `kind` is a `domain.pauses.PauseKind`; `subject` is the model's name or the tenant's id.
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
