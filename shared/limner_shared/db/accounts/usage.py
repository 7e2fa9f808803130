"""What a tenant has used and still has queued, beside its limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from limner_shared.db import queries
from limner_shared.db.engine import clock, now
from limner_shared.db.tables import FINISHED, RUNNING, Image, Job, Tenant, Usage
from limner_shared.domain.durations import DAY_SECONDS
from limner_shared.domain.ids import first_id

DAYS: Final = 31
COUNTED: Final = 100_000
"""Counting queued jobs stops here, or at the tenant's limit if that is larger."""


ACCEPTED_DAYS: Final = 14
ACCEPTED_COUNTED: Final = 10_000
"""Counting the jobs of one day stops here."""
RECENT_SECONDS: Final = 600
RECENT_COUNTED: Final = 10_000
"""Counting the images of the last minutes stops after those of this number of jobs."""


@dataclass(frozen=True, slots=True)
class AccountUsage:
    """A tenant with its limits, cost units and accepted jobs by day (newest first), numbers of jobs, and new images."""

    tenant: Tenant
    days: Sequence[tuple[str, int]]
    accepted: Sequence[tuple[str, int]]
    queued: int
    running: int
    recent_images: int


def usage(session: Session, tenant_id: str) -> AccountUsage:
    """The usage of a tenant. Cost units are counted on days on which it has a daily limit."""
    tenant = session.get_one(Tenant, tenant_id)
    days = select(Usage.day, Usage.cost).where(Usage.tenant_id == tenant_id).order_by(Usage.day.desc()).limit(DAYS)
    running = select(func.count()).select_from(Job).where(Job.tenant_id == tenant_id, text(RUNNING))
    return AccountUsage(
        tenant=tenant,
        days=[(row[0], row[1]) for row in session.execute(days)],
        accepted=_accepted(session, tenant_id),
        queued=queries.queued_jobs(session, tenant_id, max(COUNTED, tenant.max_queued or 0)),
        running=session.scalar(running) or 0,
        recent_images=_recent_images(session, tenant_id),
    )


def _recent_images(session: Session, tenant_id: str) -> int:
    """The images of jobs that ended in the last minutes, as far as retention has done nothing to those jobs yet."""
    is_recent = (text(FINISHED), Job.forgotten == 0, Job.finished_at > now() - RECENT_SECONDS)
    jobs = select(Job.id).where(Job.tenant_id == tenant_id, *is_recent).limit(RECENT_COUNTED).subquery()
    return session.scalar(select(func.count()).select_from(Image).join(jobs, Image.job_id == jobs.c.id)) or 0


def _accepted(session: Session, tenant_id: str) -> list[tuple[str, int]]:
    """The jobs of the last days, the newest day first: each is a range of ids, which grow with time."""
    today = int(clock(session) // DAY_SECONDS)
    found: list[tuple[str, int]] = []
    for day in range(today, today - ACCEPTED_DAYS, -1):
        first, after = (first_id("job", moment * DAY_SECONDS) for moment in (day, day + 1))
        ids = select(Job.id).where(Job.tenant_id == tenant_id, Job.id >= first, Job.id < after).limit(ACCEPTED_COUNTED)
        jobs = session.scalar(select(func.count()).select_from(ids.subquery())) or 0
        found.append((datetime.fromtimestamp(day * DAY_SECONDS, UTC).date().isoformat(), jobs))
    return found


def granted_today(session: Session, tenant_id: str) -> int:
    """The cost units granted to a tenant today, in UTC by the database's clock."""
    moment = clock(session)
    day = datetime.fromtimestamp(moment, UTC).date().isoformat()
    return session.scalar(select(Usage.cost).where(Usage.tenant_id == tenant_id, Usage.day == day)) or 0
