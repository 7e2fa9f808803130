"""Tenants: their weights, limits and retention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from limner_shared.db import ledger
from limner_shared.db.accounts import audit
from limner_shared.db.accounts.audit import Action
from limner_shared.db.many_rows import NO_SYNC
from limner_shared.db.tables import Tenant
from limner_shared.domain.ids import new_id
from limner_shared.domain.safety import TenantPolicy

FIELDS: Final = (
    "weight",
    "requests_per_minute",
    "max_queued",
    "max_running",
    "cost_per_day",
    "keep_images_days",
    "keep_prompts_days",
    "keep_jobs_days",
    "share_results",
    "safety",
    "blocked_terms",
    "sign_pictures",
)
"""The fields that can be changed. Limits and retention that are None do not apply; for the last three, None is the
service's setting."""


def list_tenants(session: Session) -> Sequence[Tenant]:
    """All tenants, the oldest first."""
    return session.scalars(select(Tenant).order_by(Tenant.created_at, Tenant.id)).all()


def policy(session: Session, tenant_id: str) -> TenantPolicy:
    """The tenant's own settings of safety and moderation."""
    columns = select(Tenant.safety, Tenant.blocked_terms, Tenant.sign_pictures).where(Tenant.id == tenant_id)
    row = session.execute(columns).one_or_none()
    return TenantPolicy() if row is None else TenantPolicy.of_columns(*row)


def find_or_make(session: Session, name: str) -> str:
    """Return the id of the tenant with this name, creating the tenant if necessary."""
    found = session.scalar(select(Tenant.id).where(Tenant.name == name))
    if found is None:
        # The operator's own tenant has one id, whether a command or the web server needs it first.
        found = ledger.LOCAL_TENANT if name == ledger.LOCAL_NAME else new_id("tenant")
        ledger.ensure_tenant(session, found, name)
    return found


def change_tenant(session: Session, name: str, changes: Mapping[str, Any], *, actor: str = audit.OPERATOR) -> None:
    """Set some of FIELDS for the tenant with this name, creating the tenant if necessary."""
    tenant_id = find_or_make(session, name)
    columns = [getattr(Tenant, field) for field in changes]
    if not columns:
        return
    found = session.execute(select(*columns).where(Tenant.id == tenant_id).with_for_update()).one()
    session.execute(update(Tenant).where(Tenant.id == tenant_id).values(**changes), execution_options=NO_SYNC)
    before = dict(zip(changes, found, strict=True))
    changed = {field: value for field, value in changes.items() if value != before[field]}
    if changed:
        detail = {"before": {field: before[field] for field in changed}, "after": changed}
        audit.record(session, tenant_id, actor, Action.TENANT_CHANGED, tenant_id, detail)
