"""Reads of the events table for streams: what happened after a position. A position is the id of an event."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Row, Select, func, select
from sqlalchemy.orm import Session

from limner_shared.db.ledger.erasure import EVERY_FORGOTTEN
from limner_shared.db.ledger.types import EventKind
from limner_shared.db.many_rows import among
from limner_shared.db.tables import ConversationTurn, Event, Job
from limner_shared.domain.ids import first_id
from limner_shared.domain.jobs import JobState

MAX_READ: Final = 10_000
"""Events of all tenants, or else jobs of its own, that one catch-up of a tenant reads at most."""
MAX_SCANNED: Final = 200_000
"""Events of all tenants among which a catch-up looks for deletions of images, which leave no time in their jobs."""

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
        own = _jobs_since(session, tenant_id, after) if newest - after <= MAX_SCANNED else None
        if own is None:
            return None
        new = new.where(among(Event.job_id, own))
    events = new.order_by(Event.id).limit(MAX_SCANNED if job_ids is None else MAX_READ).subquery()
    found = select(func.max(events.c.id).label("id"), events.c.job_id).group_by(events.c.job_id).subquery()
    query = select(found.c.id, Job.id.label("job_id"), Job.tenant_id, Job.bulk_id, Job.state, Job.version)
    rows = session.execute(query.join(Job, Job.id == found.c.job_id).where(Job.tenant_id == tenant_id))
    events = {row.job_id: _event(row) for row in rows.all()}
    if job_ids is None:
        events = _submitted(session, tenant_id, after) | events
    return sorted(events.values(), key=lambda event: event.id)


def _jobs_since(session: Session, tenant_id: str, after: int) -> list[str] | None:
    """A tenant's jobs that may have events after a position, found without reading the events of other tenants; None
    if there are too many. Jobs with deleted images are those of all tenants.
    """
    moment = _moment(session, after)
    since = 0.0 if moment is None else moment - OVERLAP_SECONDS
    mine, found = select(Job.id).where(Job.tenant_id == tenant_id), set[str]()
    ended = Job.forgotten.in_(EVERY_FORGOTTEN) & (Job.finished_at >= since)  # else all ended jobs are read
    for changing in (Job.state.in_((JobState.QUEUED, JobState.RUNNING)), ended):
        found.update(session.scalars(mine.where(changing).limit(MAX_READ + 1)))
    if len(found) > MAX_READ:
        return None
    deletions = select(Event.job_id).where(Event.id > after, Event.kind == EventKind.IMAGE_DELETED)
    return sorted(found.union(session.scalars(deletions)))


def _moment(session: Session, position: int) -> float | None:
    """The time of the last event up to a position, None if there is none."""
    before = select(Event.created_at).where(Event.id <= position).order_by(Event.id.desc()).limit(1)
    return session.scalar(before)


def _submitted(session: Session, tenant_id: str, after: int) -> dict[str, JobEvent]:
    """The newest jobs that were submitted after a position: a submission itself is no event."""
    moment = _moment(session, after)
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
