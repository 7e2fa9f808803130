"""Release to Redis: leadership, and marks on released jobs. The dispatcher's policy decides which jobs are released."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, select, text, update
from sqlalchemy.orm import Session

from limner_shared.db.engine import insert_new, now
from limner_shared.db.ledger.types import Released
from limner_shared.db.many_rows import NO_SYNC, among, update_many
from limner_shared.db.tables import RELEASED, WAITING, Job, Leader
from limner_shared.domain.jobs import Lane
from limner_shared.domain.pauses import Paused


def acquire_leadership(session: Session, duty: str, owner: str, seconds: float) -> bool:
    """Acquire or renew the leadership of a duty for `seconds`; False if another process holds it. It must be the first
    statement of each transaction that only the leader may execute.

    The row stays locked until the transaction ends, so that two leaders never write at once. No process waits for it:
    the database ends one that freezes with the row locked (`postgresql_engine.IDLE_SECONDS`), and meanwhile the
    others get False at once.
    """
    free = (Leader.owner == owner) | (Leader.until < now())
    row = select(Leader.duty).where(Leader.duty == duty, free).with_for_update(skip_locked=True)
    values = {"owner": owner, "until": now() + seconds}
    if session.scalar(row) is None:
        first = insert_new(session, Leader, "duty").values(duty=duty, **values).returning(Leader.duty)
        return session.scalar(first) is not None
    session.execute(update(Leader).where(Leader.duty == duty).values(values), execution_options=NO_SYNC)
    return True


def release(session: Session, lane: Lane, job_ids: Sequence[str]) -> list[Released]:
    """Mark these jobs as released to a lane, in this order, if they still wait. Publish the result after the commit."""
    marked = {job.id: job for job in _mark(session, text(WAITING) & among(Job.id, job_ids), lane)} if job_ids else {}
    return [marked[job_id] for job_id in job_ids if job_id in marked]


def release_again(session: Session, model: str, lane: Lane, before: float | ColumnElement[float]) -> list[Released]:
    """Mark again the unclaimed jobs that were released to a lane before that time: their messages were lost."""
    old = text(RELEASED) & (Job.model == model) & (Job.lane == lane) & (Job.released_at < before)
    return sorted(_mark(session, old, lane))


def keep_released(session: Session, job_ids: Sequence[str]) -> bool:
    """Mark these jobs as released just now, if they still are: a worker has their message, which is not lost, and
    claims them later. Returns False if none of them is to be claimed any more.
    """
    kept = update_many(Job).where(text(RELEASED) & among(Job.id, job_ids)).values(released_at=now())
    return bool(session.execute(kept.returning(Job.id)).all())


def recall(session: Session, model: str, paused: Paused) -> None:
    """Take back the released jobs of a model that a pause holds: they wait for their release again, in their old
    places. Their messages, if workers have not fetched them, find nothing to claim.
    """
    held = text(RELEASED) & (Job.model == model)
    if model not in paused.models:
        held &= Job.tenant_id.in_(paused.tenants)
    values = {"released_at": None, "lane": None}
    session.execute(update(Job).where(held).values(values), execution_options=NO_SYNC)


def promote(session: Session, lanes: Mapping[str, Lane]) -> None:
    """Record the new lanes of jobs whose messages were moved to the ends of other lanes because of their age. One that
    was claimed, recalled or ended meanwhile keeps its values: it would count as released.
    """
    for lane in set(lanes.values()):
        moved = Job.id.in_([job_id for job_id, to in lanes.items() if to == lane])
        values = {"lane": lane, "released_at": now()}
        session.execute(update(Job).where(moved, text(RELEASED)).values(values), execution_options=NO_SYNC)


def _mark(session: Session, condition: ColumnElement[bool], lane: Lane) -> list[Released]:
    values = {"released_at": now(), "lane": lane}
    statement = update_many(Job).where(condition).values(values).returning(Job.id, Job.released_at, Job.traceparent)
    rows = session.execute(statement).all()
    return [Released(row.id, lane, row.released_at, row.traceparent) for row in rows]
