"""The place of a job in the queue."""

from __future__ import annotations

from sqlalchemy import update
from sqlalchemy.orm import Session

from limner_shared.db.ledger.transitions import increase_version, lock_job
from limner_shared.db.ledger.types import Change
from limner_shared.db.many_rows import NO_SYNC
from limner_shared.db.tables import Job
from limner_shared.domain.jobs import JobState, Priority
from limner_shared.errors import InvalidState


def prioritise(session: Session, tenant_id: str, job_id: str, priority: Priority) -> Change | None:
    """Move a waiting job to a priority class; None if it is in it. Raises NotFound, or InvalidState for one that no
    longer waits.

    A released job is released again, to the lane of its new class. Its earlier message still starts it if a worker
    fetches that first: a claim does not compare the lanes of message and row, because they differ for a moment whenever
    a starved message moves up, and a message that is not claimed then would be lost for seconds.
    """
    row = lock_job(session, tenant_id, job_id)
    if row.state != JobState.QUEUED:
        raise InvalidState(
            f"Only a job that waits has a place in the queue; this one's state is {row.state}.", state=row.state
        )
    if row.priority == priority.rank:
        return None
    waiting = (Job.id == job_id) & (Job.state == JobState.QUEUED)
    values = {"priority": priority.rank, "released_at": None, "lane": None}
    session.execute(update(Job).where(waiting).values(values), execution_options=NO_SYNC)
    return increase_version(session, row)
