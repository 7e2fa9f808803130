"""The audit log of a tenant."""

from __future__ import annotations

from apiflask import APIBlueprint
from pydantic import BaseModel, ConfigDict, Field

from limner_shared.db.accounts import audit
from limner_shared.db.tables import AuditEntry
from limner_shared.db.views import as_datetime
from limner_shared.domain.account_views import AuditEntryView, AuditLog
from limner_web.auth import tenant_id
from limner_web.services import get_services

bp = APIBlueprint("audit", __name__, url_prefix="/api/v1/audit", tag="Account")


class ListQuery(BaseModel):
    """The page of the log."""

    model_config = ConfigDict(extra="forbid")
    limit: int = Field(default=50, ge=1, le=100, description="The number of entries per page.")
    cursor: str | None = Field(
        default=None, pattern="^[0-9]{1,18}$", description="The value of `next` from the previous page."
    )


@bp.get("")
@bp.input(ListQuery, location="query", arg_name="query")
@bp.output(AuditLog)
def list_entries(query: ListQuery) -> AuditLog:
    """List the audit log.

    Returns the changes of keys, limits, pauses and webhook endpoints, newest first. Needs the scope `admin`.
    """
    before = None if query.cursor is None else int(query.cursor)
    with get_services().database.read() as session:
        rows = audit.tenant_entries(session, tenant_id(), query.limit + 1, before)
    items = [_view(row) for row in rows[: query.limit]]
    return AuditLog(items=items, next=items[-1].id if len(rows) > query.limit else None)


def _view(row: AuditEntry) -> AuditEntryView:
    return AuditEntryView(
        id=str(row.id),
        actor=row.actor,
        action=row.action,
        subject=row.subject,
        detail=row.detail,
        created_at=as_datetime(row.created_at),
    )
