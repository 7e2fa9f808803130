"""Pausing and resuming the queue of a model, a tenant (also by itself) or a worker; each change is in the audit log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from limner_shared.db import pause_queries
from limner_shared.db.accounts import audit
from limner_shared.db.accounts.audit import Action
from limner_shared.db.engine import clock, insert_new, now
from limner_shared.db.ledger import LOCAL_NAME, LOCAL_TENANT, ensure_tenant
from limner_shared.db.many_rows import NO_SYNC
from limner_shared.db.tables import Pause, Tenant
from limner_shared.domain.access import Expiry
from limner_shared.domain.durations import DAY_SECONDS
from limner_shared.domain.ids import new_id
from limner_shared.domain.pauses import DRAIN_SECONDS, MAX_PAUSE_SECONDS, PauseKind
from limner_shared.errors import InvalidRequest, NotFound

TENANT_KINDS: Final = (PauseKind.TENANT, PauseKind.OWN)
"""The kinds whose subject is a tenant."""


def pause(
    session: Session, kind: PauseKind, subject: str, reason: str | None, until: Expiry | None, *, actor: str
) -> Pause:
    """Pause a model, a tenant or a worker, or change the reason and the time of its pause.

    `subject` is the name of the model or the id of the worker, which the caller has checked, or the id of the tenant.
    Raises InvalidRequest for a time that is past or too far ahead.
    """
    moment = clock(session)
    if kind is PauseKind.WORKER and until is None:
        until = Expiry(DRAIN_SECONDS, is_relative=True)
    values = {"reason": reason, "until": _end(until, moment), "paused_at": moment, "actor": actor}
    new = insert_new(session, Pause, "kind", "subject")
    session.execute(new.values(id=new_id("pause"), kind=kind, subject=subject, **values))
    same = (Pause.kind == kind) & (Pause.subject == subject)
    session.execute(update(Pause).where(same).values(values), execution_options=NO_SYNC)
    row = session.scalars(select(Pause).where(same)).one()
    _record(session, row, actor, Action.QUEUE_PAUSED, {"reason": reason, "until": row.until})
    return row


def resume(session: Session, pause_id: str, *, actor: str) -> None:
    """End a pause. Raises NotFound."""
    row = session.scalar(select(Pause).where(Pause.id == pause_id).with_for_update())
    if row is None:
        raise NotFound(f"There is no pause {pause_id}.")
    _lift(session, row, actor)


def resume_own(session: Session, tenant_id: str, *, actor: str) -> None:
    """End the pause that a tenant made of its own queue, if there is one; the operator's remains."""
    own = (Pause.kind == PauseKind.OWN) & (Pause.subject == tenant_id)
    row = session.scalar(select(Pause).where(own).with_for_update())
    if row is not None:
        _lift(session, row, actor)


def find(session: Session, kind: PauseKind, subject: str) -> str:
    """The id of the pause of a model, tenant or worker. Raises NotFound if it is not paused."""
    query = select(Pause.id).where(Pause.kind == kind, Pause.subject == subject, pause_queries.in_force())
    found = session.scalar(query)
    if found is None:
        raise NotFound(f"This {kind} is not paused.")
    return found


def end_drain(session: Session, owner: str) -> None:
    """Delete the pause of a worker that ends, if there is one."""
    row = session.scalar(select(Pause).where(Pause.kind == PauseKind.WORKER, Pause.subject == owner))
    if row is not None:
        _lift(session, row, audit.SYSTEM)


def lift_ended(session: Session, limit: int) -> int:
    """Delete the pauses whose time is over, at most `limit`; they hold back no job any more. Returns their number."""
    ended = select(Pause).where(Pause.until <= now()).limit(limit).with_for_update(skip_locked=True)
    rows = session.scalars(ended).all()
    for row in rows:
        _lift(session, row, audit.SYSTEM)
    return len(rows)


def tenant_named(session: Session, name: str) -> str:
    """The id of the tenant with this name. Raises NotFound."""
    found = session.scalar(select(Tenant.id).where(Tenant.name == name))
    if found is None:
        raise NotFound(f"There is no tenant {name!r}.")
    return found


def tenant_names(session: Session, rows: Sequence[Pause]) -> dict[str, str]:
    """The names of the tenants that these pauses stop, by id."""
    ids = [row.subject for row in rows if row.kind in TENANT_KINDS]
    return {row[0]: row[1] for row in session.execute(select(Tenant.id, Tenant.name).where(Tenant.id.in_(ids)))}


def _end(until: Expiry | None, moment: float) -> float | None:
    if until is None:
        return None
    end = moment + until.seconds if until.is_relative else until.seconds
    if not moment < end <= moment + MAX_PAUSE_SECONDS:
        days = int(MAX_PAUSE_SECONDS // DAY_SECONDS)
        raise InvalidRequest(f"The end of a pause must be in the future, at most {days} days from now.", field="until")
    return end


def _lift(session: Session, row: Pause, actor: str) -> None:
    _record(session, row, actor, Action.QUEUE_RESUMED, {})
    session.execute(delete(Pause).where(Pause.id == row.id), execution_options=NO_SYNC)


def _record(session: Session, row: Pause, actor: str, action: Action, detail: dict[str, Any]) -> None:
    """Record a change: of a tenant's pause in its own log, of all others in the operator's."""
    tenant_id = row.subject if row.kind in TENANT_KINDS else LOCAL_TENANT
    if tenant_id == LOCAL_TENANT:
        ensure_tenant(session, LOCAL_TENANT, LOCAL_NAME)
    audit.record(session, tenant_id, actor, action, row.id, {row.kind: row.subject, **detail})
