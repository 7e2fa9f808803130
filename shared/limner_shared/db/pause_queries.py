"""The queries of pauses. The table holds one row for each pause in force, so reading all of it costs one probe."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.orm import Session

from limner_shared.db.engine import now
from limner_shared.db.tables import Job, Pause
from limner_shared.domain.jobs import JobState
from limner_shared.domain.pauses import Paused, PauseKind


def in_force() -> ColumnElement[bool]:
    """The condition of a pause whose time is not over."""
    return Pause.until.is_(None) | (Pause.until > now())


def pauses(session: Session) -> Sequence[Pause]:
    """All pauses in force, the oldest first."""
    return session.scalars(select(Pause).where(in_force()).order_by(Pause.paused_at, Pause.id)).all()


def paused(session: Session) -> Paused:
    """The models and tenants that are paused now."""
    found = session.execute(select(Pause.kind, Pause.subject).where(in_force())).all()
    models = frozenset(subject for kind, subject in found if kind == PauseKind.MODEL)
    by_operator = frozenset(subject for kind, subject in found if kind == PauseKind.TENANT)
    own = frozenset(subject for kind, subject in found if kind == PauseKind.OWN)
    return Paused(models, by_operator | own, by_operator)


def pause_of_tenant(session: Session, tenant_id: str, kind: PauseKind) -> Pause | None:
    """The pause in force of a tenant: the operator's (TENANT), or the tenant's own (OWN)."""
    mine = (Pause.kind == kind) & (Pause.subject == tenant_id)
    return session.scalar(select(Pause).where(mine, in_force()))


def not_paused() -> ColumnElement[bool]:
    """The condition of a job that no pause holds back."""
    of_model = (Pause.kind == PauseKind.MODEL) & (Pause.subject == Job.model)
    of_tenant = Pause.kind.in_((PauseKind.TENANT, PauseKind.OWN)) & (Pause.subject == Job.tenant_id)
    return ~exists(select(Pause.id).where(in_force(), of_model | of_tenant).correlate(Job))


def is_draining(session: Session, owner: str) -> bool:
    """Whether a worker is to take no new jobs."""
    of_worker = (Pause.kind == PauseKind.WORKER) & (Pause.subject == owner)
    return session.scalar(select(Pause.id).where(of_worker, in_force())) is not None


def idle_draining_workers(session: Session) -> set[str]:
    """The workers that are to take no new jobs, and hold none."""
    held = exists(select(Job.id).where(Job.state == JobState.RUNNING, Job.owner == Pause.subject).correlate(Pause))
    return set(session.scalars(select(Pause.subject).where(Pause.kind == PauseKind.WORKER, in_force(), ~held)))


def has_ended_pause(session: Session) -> bool:
    """Whether the time of a pause is over."""
    return session.scalar(select(Pause.id).where(Pause.until <= now()).limit(1)) is not None
