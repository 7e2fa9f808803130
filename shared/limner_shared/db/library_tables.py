"""The tables with which a tenant finds its jobs and images. Importing this module defines all tables."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from limner_shared.db.table_base import Base
from limner_shared.db.tables import Job, Tenant


class Label(Base):
    """A tag of a job or of one of its images, or that it is a favourite (`domain.labels`).

    `image_id` is empty for a label of the job itself. The key lists the newest jobs with a label.
    """

    __tablename__ = "labels"
    tenant_id: Mapped[str] = mapped_column(ForeignKey(Tenant.id), primary_key=True)
    label: Mapped[str] = mapped_column(String(50), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey(Job.id, ondelete="CASCADE"), primary_key=True, index=True)
    image_id: Mapped[str] = mapped_column(String(40), primary_key=True)
