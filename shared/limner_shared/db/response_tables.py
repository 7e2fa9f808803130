"""The table of what the responses of OpenAI's API were created from."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from limner_shared.db.table_base import Base


class ResponseInput(Base):
    """The input items of a stored response, without the bytes of pictures.

    The database itself deletes it with its job, and when the job's prompt is deleted, whatever release does so.
    """

    __tablename__ = "response_inputs"
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    items: Mapped[dict[str, Any]]  # {"data": […]}, in OpenAI's form, the oldest first
