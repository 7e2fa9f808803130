"""Tenants: their weight, their limits and what is kept of theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from limner_shared.db import ledger
from limner_shared.db.ledger.types import NO_SYNC
from limner_shared.db.tables import Tenant
from limner_shared.domain.ids import new_id

FIELDS = (
    "weight",
    "requests_per_minute",
    "max_queued",
    "max_running",
    "cost_per_day",
    "keep_images_days",
    "keep_prompts_days",
    "keep_jobs_days",
    "share_results",
)
"""What can be changed of a tenant; limits and retention may be None, and then do not apply."""


def list_tenants(session: Session) -> Sequence[Tenant]:
    """Every tenant, oldest first."""
    return session.scalars(select(Tenant).order_by(Tenant.created_at, Tenant.id)).all()


def find_or_make(session: Session, name: str) -> str:
    """The id of the tenant with this name, who is made if there is none."""
    found = session.scalar(select(Tenant.id).where(Tenant.name == name))
    if found is None:
        found = new_id("tenant")
        ledger.ensure_tenant(session, found, name)
    return found


def change_tenant(session: Session, name: str, changes: Mapping[str, float | None]) -> None:
    """Set these of FIELDS for the tenant with this name, who is made if there is none."""
    tenant_id = find_or_make(session, name)
    if changes:
        session.execute(update(Tenant).where(Tenant.id == tenant_id).values(**changes), execution_options=NO_SYNC)
