"""What the operator sees of all tenants: the running jobs by model and by worker."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from limner_shared.db.tables import RUNNING, Job


class HeldJob(NamedTuple):
    """A running job and the worker that holds it."""

    id: str
    model: str
    owner: str | None
    attempt: int
    started_at: float | None


def running_by_model(session: Session) -> dict[str, int]:
    """The number of running jobs of each model."""
    query = select(Job.model, func.count()).where(text(RUNNING)).group_by(Job.model)
    return {row[0]: row[1] for row in session.execute(query)}


def held_jobs(session: Session, limit: int) -> list[HeldJob]:
    """The running jobs, the oldest first."""
    query = select(Job.id, Job.model, Job.owner, Job.attempt, Job.started_at).where(text(RUNNING))
    return [HeldJob(*row) for row in session.execute(query.order_by(Job.lease_until).limit(limit))]
