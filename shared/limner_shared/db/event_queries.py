"""Reads of the events table for streams: what happened after a position. A position is the id of an event."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Row, Select, func, select
from sqlalchemy.orm import Session

from limner_shared.db.tables import ConversationTurn, Event, Job
from limner_shared.domain.ids import first_id

MAX_READ: Final = 10_000
"""Events of all tenants that one catch-up reads at most."""


MAX_SUBMITTED: Final = 1000
OVERLAP_SECONDS: Final = 60.0
"""Longer than a submission lasts, from its id to its commit."""


@dataclass(frozen=True, slots=True)
class JobEvent:
    """An event, with its job as it is now."""

    id: int
    job_id: str
    tenant_id: str
    bulk_id: str | None
    state: str
    version: int


def newest_event(session: Session) -> int:
    """The greatest id of an event, 0 if there is none."""
    return session.scalar(select(func.max(Event.id)).where(Event.id > 0)) or 0


def event_ids(session: Session, first: int) -> set[int]:
    """The ids of all events from `first` on."""
    return set(session.scalars(select(Event.id).where(Event.id >= first)))


def events_after(session: Session, after: int, missing: Collection[int], limit: int) -> list[JobEvent]:
    """The next events after a position, and those of the `missing` ids that were committed meanwhile."""
    query = _events()
    rows = list(session.execute(query.where(Event.id > after).order_by(Event.id).limit(limit)))
    if missing:
        rows += session.execute(query.where(Event.id.in_(missing))).all()
    return [_event(row) for row in rows]


def missed_events(session: Session, tenant_id: str, after: int, job_ids: Sequence[str] | None) -> list[JobEvent] | None:
    """A tenant's jobs, or those of them in `job_ids`, with events after a position, each once; None if there are more
    than can be read, or if the position is beyond the newest event: of a time before the database was restored, or
    before that event was deleted.
    """
    newest = newest_event(session)
    if after > newest:
        return None
    new = select(Event.id, Event.job_id).where(Event.id > after)
    if job_ids is not None:
        new = new.where(Event.job_id.in_(job_ids))
    elif newest - after > MAX_READ:
        return None
    events = new.order_by(Event.id).limit(MAX_READ).subquery()
    found = select(func.max(events.c.id).label("id"), events.c.job_id).group_by(events.c.job_id).subquery()
    query = select(found.c.id, Job.id.label("job_id"), Job.tenant_id, Job.bulk_id, Job.state, Job.version)
    rows = session.execute(query.join(Job, Job.id == found.c.job_id).where(Job.tenant_id == tenant_id))
    events = {row.job_id: _event(row) for row in rows.all()}
    if job_ids is None:
        events = _submitted(session, tenant_id, after) | events
    return sorted(events.values(), key=lambda event: event.id)


def _submitted(session: Session, tenant_id: str, after: int) -> dict[str, JobEvent]:
    """The newest jobs that were submitted after a position: a submission itself is no event."""
    before = select(Event.created_at).where(Event.id <= after).order_by(Event.id.desc()).limit(1)
    moment = session.scalar(before)
    if moment is None:
        return {}
    first = first_id("job", moment - OVERLAP_SECONDS)
    single = (Job.tenant_id == tenant_id) & (Job.id >= first) & Job.bulk_id.is_(None)
    columns = (Job.id, Job.tenant_id, Job.bulk_id, Job.state, Job.version)
    rows = session.execute(select(*columns).where(single).order_by(Job.id.desc()).limit(MAX_SUBMITTED))
    return {row.id: JobEvent(after, *row) for row in rows}


def conversation_jobs(session: Session, conversation_id: str) -> list[str]:
    """The jobs of a conversation."""
    return list(
        session.scalars(select(ConversationTurn.job_id).where(ConversationTurn.conversation_id == conversation_id))
    )


def _events() -> Select[int, str, str, str | None, str, int]:
    columns = (Event.id, Event.job_id, Job.tenant_id, Job.bulk_id, Job.state, Job.version)
    return select(*columns).join(Job, Job.id == Event.job_id)


def _event(row: Row[int, str, str, str | None, str, int]) -> JobEvent:
    return JobEvent(*row)
