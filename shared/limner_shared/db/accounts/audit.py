"""The audit log: who changed which key, tenant, pause or webhook endpoint; written in the transaction of the change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from limner_shared.db.engine import now
from limner_shared.db.tables import AuditEntry, Tenant

OPERATOR: Final = "operator"
"""The actor of a change that was made on the command line, directly in the database."""
SYSTEM: Final = "system"
"""The actor of what happens by itself: the expiry of a key, the end of a pause."""
ANONYMOUS: Final = "anonymous"
"""The actor of a request without a key, to a service that requires none."""

MAX_ID: Final = 2**63 - 1


class Action(StrEnum):
    """What an entry records."""

    KEY_CREATED = "key_created"
    KEY_ROTATED = "key_rotated"
    KEY_REVOKED = "key_revoked"
    KEY_EXPIRED = "key_expired"
    TENANT_CHANGED = "tenant_changed"
    WEBHOOK_CREATED = "webhook_created"
    WEBHOOK_CHANGED = "webhook_changed"
    WEBHOOK_ROTATED = "webhook_rotated"
    WEBHOOK_DELETED = "webhook_deleted"
    QUEUE_PAUSED = "queue_paused"
    QUEUE_RESUMED = "queue_resumed"


def record(
    session: Session, tenant_id: str, actor: str, action: Action, subject: str, detail: Mapping[str, Any]
) -> None:
    """Append an entry. `detail` must not contain a secret."""
    values = {"tenant_id": tenant_id, "actor": actor, "action": action.value, "subject": subject}
    session.execute(insert(AuditEntry).values(created_at=now(), detail=dict(detail), **values))


def tenant_entries(session: Session, tenant_id: str, limit: int, before: int | None = None) -> Sequence[AuditEntry]:
    """A page of a tenant's entries, newest first, older than the id `before`."""
    bound = MAX_ID if before is None else before
    query = select(AuditEntry).where(AuditEntry.tenant_id == tenant_id, AuditEntry.id < bound)
    return session.scalars(query.order_by(AuditEntry.id.desc()).limit(limit)).all()


def newest_entries(session: Session, limit: int, tenant_name: str | None = None) -> Sequence[tuple[AuditEntry, str]]:
    """The newest entries with their tenants' names, newest first: of one tenant, or of all."""
    if tenant_name is not None:
        tenant_id = session.scalar(select(Tenant.id).where(Tenant.name == tenant_name))
        return (
            [] if tenant_id is None else [(entry, tenant_name) for entry in tenant_entries(session, tenant_id, limit)]
        )
    # With this condition the planner uses the index of the order, whatever it expects of a join.
    query = select(AuditEntry).where(AuditEntry.id > 0).order_by(AuditEntry.id.desc()).limit(limit)
    entries = session.scalars(query).all()
    tenants = select(Tenant.id, Tenant.name).where(Tenant.id.in_({entry.tenant_id for entry in entries}))
    names = {row[0]: row[1] for row in session.execute(tenants)}
    return [(entry, names[entry.tenant_id]) for entry in entries]
