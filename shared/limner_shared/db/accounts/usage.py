"""What a tenant has used and still has queued, beside its limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from limner_shared.db import queries
from limner_shared.db.engine import now
from limner_shared.db.tables import RUNNING, Job, Tenant, Usage

DAYS: Final = 31
COUNTED: Final = 100_000
"""Counting queued jobs stops here, or at the tenant's limit if that is larger."""


@dataclass(frozen=True, slots=True)
class AccountUsage:
    """A tenant with its limits, cost units granted by day (newest first), and numbers of jobs."""

    tenant: Tenant
    days: Sequence[tuple[str, int]]
    queued: int
    running: int


def usage(session: Session, tenant_id: str) -> AccountUsage:
    """The usage of a tenant. Cost units are counted on days on which it has a daily limit."""
    tenant = session.get_one(Tenant, tenant_id)
    days = select(Usage.day, Usage.cost).where(Usage.tenant_id == tenant_id).order_by(Usage.day.desc()).limit(DAYS)
    running = select(func.count()).select_from(Job).where(Job.tenant_id == tenant_id, text(RUNNING))
    return AccountUsage(
        tenant=tenant,
        days=[(row[0], row[1]) for row in session.execute(days)],
        queued=queries.queued_jobs(session, tenant_id, max(COUNTED, tenant.max_queued or 0)),
        running=session.scalar(running) or 0,
    )


def granted_today(session: Session, tenant_id: str) -> int:
    """The cost units granted to a tenant today, in UTC by the database's clock."""
    moment: float = session.scalar(select(now())) or 0.0
    day = datetime.fromtimestamp(moment, UTC).date().isoformat()
    return session.scalar(select(Usage.cost).where(Usage.tenant_id == tenant_id, Usage.day == day)) or 0
