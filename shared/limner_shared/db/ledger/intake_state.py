"""What decides how a new job is queued: its tenant's limits, and what is ahead of it.

One statement reads all of it, and it is built once: to send a statement costs a web process more than its answer.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, String, bindparam, case, cast, exists, func, not_, select, text, true
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from limner_shared.db.engine import now
from limner_shared.db.tables import ACTIVE, RELEASED, WAITING, Job, Pause, Tenant
from limner_shared.db.waiting_queries import POSITION_LIMIT
from limner_shared.domain.jobs import Lane, Priority


class _index_order(FunctionElement[Any]):  # noqa: N801 - used like a function
    """The order of the index of active jobs. Without statistics, SQLite would read all jobs of the tenant in an index
    with more columns, which does not have this order.
    """

    inherit_cache = True


@compiles(_index_order, "sqlite")
def _index_order_sqlite(element: _index_order, compiler: SQLCompiler, **kw: Any) -> str:
    return "jobs.rowid"


@compiles(_index_order, "postgresql")
def _index_order_postgresql(element: _index_order, compiler: SQLCompiler, **kw: Any) -> str:
    return "jobs.tenant_id"


class _has_submission_lock(FunctionElement[bool]):  # noqa: N801 - used like a function
    """Whether no other transaction is adding a job of this tenant and model: of a burst that arrives at once, each
    transaction would find the tenant idle. The lock ends with the transaction.
    """

    inherit_cache = True


@compiles(_has_submission_lock, "sqlite")
def _has_submission_lock_sqlite(element: _has_submission_lock, compiler: SQLCompiler, **kw: Any) -> str:
    return "true"  # write transactions exclude one another


@compiles(_has_submission_lock, "postgresql")
def _has_submission_lock_postgresql(element: _has_submission_lock, compiler: SQLCompiler, **kw: Any) -> str:
    tenant, model = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"pg_try_advisory_xact_lock(hashtextextended({tenant} || ' ' || {model}, 1))"


class IntakeState(NamedTuple):
    """The intake state for a new job of a model and priority class."""

    moment: float
    """Now, by the database's clock."""
    any_pause: bool
    """Whether there are pauses at all."""
    max_queued: int | None
    cost_per_day: int | None
    max_running: int | None
    is_active: bool
    """Whether its tenant has a job of the model released or running, or another transaction is adding one."""
    others_wait: bool
    """Whether a job of the model and priority class waits for its release."""
    first: int
    """Released, unclaimed jobs of the model in the lane FIRST; these counts stop at POSITION_LIMIT."""
    own: int
    """Those in the lane of the priority class."""
    before: int
    """Those in that lane and the lanes that are served before it."""

    def released(self, lane: Lane) -> int:
        """The released, unclaimed jobs in a lane in which the new job may be."""
        return self.first if lane is Lane.FIRST else self.own

    def ahead(self, lane: Lane) -> int:
        """How many jobs are ahead of the new one if it is released into a lane."""
        return self.first if lane is Lane.FIRST else min(POSITION_LIMIT, self.before)


def read_intake_state(
    session: Session, tenant_id: str, model: str, priority: Priority, *, is_estimate: bool = False
) -> IntakeState:
    """The intake state for a tenant's new job. An estimate adds no job, so it takes no lock from one that does."""
    lane = Lane.of(priority.rank)
    values = {"tenant": tenant_id, "model": model, "priority": priority.rank, "first": Lane.FIRST, "lane": lane}
    return IntakeState(*session.execute(_statement(is_estimate=is_estimate), values).one())


@cache
def _statement(*, is_estimate: bool) -> Select[*tuple[Any, ...]]:
    model = Job.model == bindparam("model")
    active = select(Job.id).where(Job.tenant_id == bindparam("tenant"), model, text(ACTIVE))
    first_active = active.order_by(_index_order()).limit(1).scalar_subquery()
    lock = _has_submission_lock(cast(bindparam("tenant"), String), cast(bindparam("model"), String))
    waiting = select(Job.id).where(model, Job.priority == bindparam("priority"), text(WAITING))
    # In the index's order: a planner that expects most jobs to be waiting would search among those that are done.
    first_waiting = waiting.order_by(Job.tenant_id, Job.queue_key, Job.id).limit(1).scalar_subquery()
    return select(
        now(),
        exists(select(Pause.id)),
        Tenant.max_queued,
        Tenant.cost_per_day,
        Tenant.max_running,
        case((first_active.is_not(None), true()), else_=not_(true() if is_estimate else lock)),
        first_waiting.is_not(None),
        _released(model, Job.lane == bindparam("first")),
        _released(model, Job.lane == bindparam("lane")),
        _released(model, Job.lane <= bindparam("lane")),
    ).where(Tenant.id == bindparam("tenant"))


def _released(*conditions: ColumnElement[bool]) -> ColumnElement[int]:
    ids = select(Job.id).where(text(RELEASED), *conditions).limit(POSITION_LIMIT)
    return select(func.count()).select_from(ids.subquery()).scalar_subquery()
