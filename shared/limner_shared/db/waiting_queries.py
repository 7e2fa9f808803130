"""What a view shows of a job that has not ended and what changes without the job: its place in the queue, and pauses.

All of it comes in one statement, which is built once: views of waiting jobs are what clients ask for most.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Select, bindparam, exists, func, literal, select, text, tuple_
from sqlalchemy.orm import Session

from limner_shared.db.library_tables import Label
from limner_shared.db.tables import RELEASED, WAITING, ConversationTurn, Job, Pause
from limner_shared.domain.jobs import JobState
from limner_shared.errors import NotFound

POSITION_LIMIT: Final = 1000
"""The largest exact position: a larger one does not matter to clients, and counting has a cost."""


class LiveDetails(NamedTuple):
    """What a view shows of a job that has not ended."""

    position: int | None
    """How many jobs are ahead of it, at most POSITION_LIMIT; None unless it waits in the queue."""
    any_pause: bool
    """Whether there are pauses at all."""
    is_labelled: bool
    conversation: str | None
    """The id of the conversation that asked for it."""


def state(session: Session, tenant_id: str, job_id: str) -> JobState:
    """The state of a tenant's job. Raises NotFound if it does not exist or belongs to another tenant."""
    found = session.scalar(_state(), {"job_id": job_id, "tenant_id": tenant_id})
    if found is None:
        raise NotFound(f"There is no job {job_id}.")
    return JobState(found)


def live_details(session: Session, row: Job) -> LiveDetails:
    """What a view shows of a job that has not ended."""
    is_queued = row.state == JobState.QUEUED and row.not_before is None
    ahead, any_pause, is_labelled, conversation = session.execute(
        _live_details(is_queued, _is_released(row)), _values(row)
    ).one()
    return LiveDetails(None if ahead is None else min(POSITION_LIMIT, ahead), any_pause, is_labelled, conversation)


def position(session: Session, row: Job) -> int:
    """How many jobs are ahead of this queued one, at most POSITION_LIMIT: the released jobs, and, if it waits for its
    own release, the earlier ones of its own queue. The other queues are served in turn with its own.
    """
    ahead = session.scalar(select(_ahead(_is_released(row))), _values(row))
    return min(POSITION_LIMIT, ahead or 0)


def _is_released(row: Job) -> bool:
    return row.released_at is not None


def _values(row: Job) -> dict[str, Any]:
    return {
        "job_id": row.id,
        "tenant_id": row.tenant_id,
        "model": row.model,
        "priority": row.priority,
        "queue_key": row.queue_key,
        "lane": row.lane,
        "released_at": row.released_at,
    }


@cache
def _state() -> Select[str]:
    return select(Job.state).where(Job.id == _of(Job.id, "job_id"), Job.tenant_id == _of(Job.tenant_id, "tenant_id"))


@cache
def _live_details(is_queued: bool, is_released: bool) -> Select[int | None, bool, bool, str | None]:
    ahead = _ahead(is_released) if is_queued else literal(None)
    this = _of(Job.id, "job_id")
    turn = select(ConversationTurn.conversation_id).where(ConversationTurn.job_id == this).limit(1)
    is_labelled = exists(select(Label.job_id).where(Label.job_id == this))
    return select(ahead, exists(select(Pause.id)), is_labelled, turn.scalar_subquery())


@cache
def _ahead(is_released: bool) -> ColumnElement[int]:
    model = Job.model == _of(Job.model, "model")
    released = select(Job.id).where(model, text(RELEASED))
    if is_released:
        own = tuple_(_of(Job.lane, "lane"), _of(Job.released_at, "released_at"))
        return _count(released.where(tuple_(Job.lane, Job.released_at) < own))
    order = (Job.tenant_id, Job.queue_key, Job.id)
    own = tuple(_of(column, name) for column, name in zip(order, ("tenant_id", "queue_key", "job_id"), strict=True))
    queue = select(
        Job.id
    ).where(
        model,
        Job.priority == _of(Job.priority, "priority"),
        tuple_(*order) < tuple_(*own),  # as in `release_queries.waiting_jobs`
        tuple_(*order[:2]) >= tuple_(*own[:2]),
        text(WAITING),
    )
    return _count(queue.order_by(*order)) + _count(released)


def _of(column: Any, name: str) -> Any:
    """A parameter of a column's type."""
    return bindparam(name, type_=column.type)


def _count(ids: Select[str]) -> ColumnElement[int]:
    return select(func.count()).select_from(ids.limit(POSITION_LIMIT).subquery()).scalar_subquery()
