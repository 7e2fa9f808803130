"""Submission of jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy.orm import Session

from limner_shared.db import pause_queries, release_queries
from limner_shared.db.engine import clock, insert_new, now
from limner_shared.db.ledger.counting import count_submission
from limner_shared.db.ledger.intake_state import IntakeState, read_intake_state
from limner_shared.db.ledger.search_index import add_words
from limner_shared.db.ledger.types import Change, NewJob, Released, Submission
from limner_shared.db.many_rows import insert_many
from limner_shared.db.tables import Input, Job, Tenant
from limner_shared.domain.ids import new_id
from limner_shared.domain.jobs import JobState, Lane, Priority
from limner_shared.domain.pauses import Paused

LOCAL_TENANT: Final = "tenant_local"
"""The tenant of all requests while keys are not required, and the operator's own."""
LOCAL_NAME: Final = "local"
"""Its name."""


def ensure_tenant(session: Session, tenant_id: str, name: str) -> None:
    """Create a tenant if it does not exist."""
    session.execute(insert_new(session, Tenant, "id").values(id=tenant_id, name=name, created_at=now()))


def submit(
    session: Session,
    tenant_id: str,
    new: Sequence[NewJob],
    *,
    window: int = 0,
    bulk_id: str | None = None,
    intake_state: IntakeState | None = None,
) -> Submission:
    """Queue jobs of one model and priority. They are released at once if no jobs wait ahead of them, the `window`
    has room, none is scheduled for later, and neither their model nor their tenant is paused.

    An `intake_state` that was read in this transaction saves a statement.
    """
    if intake_state is None and window:
        intake_state = read_intake_state(session, tenant_id, new[0].spec.model, new[0].priority)
    moment = clock(session) if intake_state is None else intake_state.moment
    scheduled = any(_start(job, moment) is not None for job in new)
    lane = None
    if intake_state is not None and window and not scheduled:
        lane = _lane_at_once(session, tenant_id, new, window, intake_state)
    rows = [_row(job, tenant_id, bulk_id, moment, lane) for job in new]
    insert_many(session, Job, rows)
    add_words(session, [(row["id"], tenant_id, row["spec"], row["extra"]) for row in rows])
    _store_inputs(session, rows, new)
    count_submission(session, [(job.spec.model, job.priority) for job in new], bulk=bulk_id is not None)
    changes = [Change(row["id"], tenant_id, bulk_id, row["model"], JobState.QUEUED, 1) for row in rows]
    if lane is None or intake_state is None:
        return Submission(changes, [], rows=rows)
    released = [Released(row["id"], lane, moment, row["traceparent"]) for row in rows]
    return Submission(changes, released, rows=rows, ahead=intake_state.ahead(lane))


def as_stored(row: Mapping[str, Any]) -> Job:
    """A job that was just submitted, from its row of `Submission.rows`, as a query would return it."""
    values = {name: value for name, value in row.items() if name != "flow"}
    return Job(queue_key=row["flow"], retries=0, **values)


def _lane_at_once(
    session: Session, tenant_id: str, new: Sequence[NewJob], window: int, intake_state: IntakeState
) -> Lane | None:
    """The lane into which these jobs may go now without passing jobs that come first; None leaves them to the
    dispatcher.
    """
    model, priority = new[0].spec.model, new[0].priority
    paused = pause_queries.paused(session) if intake_state.any_pause else Paused()
    if paused.holds(model, tenant_id):
        return None
    if intake_state.max_running is not None:
        return None
    small = priority is not Priority.LOW and all(job.small for job in new)
    if small and not intake_state.is_active:
        lane = Lane.FIRST
    elif _others_wait(session, model, priority.rank, paused, intake_state):
        return None
    else:
        lane = Lane.of(priority.rank)
    room = window - intake_state.released(lane)
    return lane if room >= len(new) else None


def _others_wait(session: Session, model: str, rank: int, paused: Paused, intake_state: IntakeState) -> bool:
    """Whether jobs that may run wait for their release."""
    if not paused.tenants or not intake_state.others_wait:
        return intake_state.others_wait
    return not paused.tenants.issuperset(release_queries.waiting_tenants(session, model, rank))


def _store_inputs(session: Session, rows: Sequence[Mapping[str, Any]], new: Sequence[NewJob]) -> None:
    inputs = [
        {"job_id": row["id"], "sha256": digest}
        for row, job in zip(rows, new, strict=True)
        for digest in job.spec.inputs.values()
    ]
    insert_many(session, Input, inputs)


def _row(job: NewJob, tenant_id: str, bulk_id: str | None, moment: float, lane: Lane | None) -> dict[str, Any]:
    return {
        "id": new_id("job") if job.unique is None else job.unique.job_id,
        "tenant_id": tenant_id,
        "bulk_id": bulk_id,
        "bulk_line": job.bulk_line,
        "flow": bulk_id or tenant_id,  # the column's name
        "state": JobState.QUEUED,
        "version": 1,
        "priority": job.priority.rank,
        "model": job.spec.model,
        "cost": job.cost,
        "spec": job.spec.stored(),
        "extra": dict(job.metadata),
        "attempt": 0,
        "losses": 0,
        "created_at": moment,
        "released_at": None if lane is None else moment,
        "lane": lane,
        "deadline_at": None if job.expires_in is None else moment + job.expires_in,
        "retry_of": job.retry_of,
        "not_before": _start(job, moment),
        "max_retries": job.max_retries,
        "webhook": None if job.webhook is None else dict(job.webhook),
        "traceparent": job.traceparent,
        "indexed": True,
    }


def _start(job: NewJob, moment: float) -> float | None:
    """The time for which a job is scheduled; None if that is not in the future of `moment`."""
    return None if job.not_before is None or job.not_before <= moment else job.not_before
