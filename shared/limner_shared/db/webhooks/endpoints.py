"""A tenant's webhook endpoints, and the secrets that sign deliveries. Every change is in the audit log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.orm import Session

from limner_shared.db.accounts import audit
from limner_shared.db.accounts.audit import Action
from limner_shared.db.engine import clock, insert_new, now
from limner_shared.db.ledger.idempotency import lock_key
from limner_shared.db.many_rows import NO_SYNC
from limner_shared.db.webhook_tables import WebhookEndpoint, WebhookSecret
from limner_shared.domain.ids import new_id
from limner_shared.domain.webhooks import MAX_ENDPOINTS, hint, new_secret
from limner_shared.errors import InvalidRequest, NotFound

ENDPOINTS_LOCK: Final = "\x01endpoints"
"""The key that changes of one tenant's endpoints and secrets lock; no client can send it."""


@dataclass(frozen=True, slots=True)
class EndpointFields:
    """The fields of an endpoint that its owner sets."""

    name: str
    url: str
    event_types: list[str]


def create(session: Session, tenant_id: str, fields: EndpointFields, *, actor: str) -> tuple[WebhookEndpoint, str]:
    """Create an endpoint; returns it with its secret. Raises InvalidRequest if the tenant has MAX_ENDPOINTS."""
    lock_key(session, tenant_id, ENDPOINTS_LOCK)
    count = session.scalar(select(func.count()).where(WebhookEndpoint.tenant_id == tenant_id)) or 0
    if count >= MAX_ENDPOINTS:
        raise InvalidRequest(f"At most {MAX_ENDPOINTS} endpoints are allowed: delete one first.")
    endpoint_id, moment = new_id("we"), clock(session)
    values: dict[str, Any] = {"id": endpoint_id, "tenant_id": tenant_id, "name": fields.name, "url": fields.url}
    values |= {"event_types": fields.event_types, "created_at": moment, "updated_at": moment}
    session.execute(insert(WebhookEndpoint).values(**values))
    secret = current_secret(session, endpoint_id)
    audit.record(session, tenant_id, actor, Action.WEBHOOK_CREATED, endpoint_id, _detail(fields))
    return get(session, tenant_id, endpoint_id), secret


def get(session: Session, tenant_id: str, endpoint_id: str) -> WebhookEndpoint:
    """A tenant's endpoint. Raises NotFound."""
    query = select(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id, WebhookEndpoint.tenant_id == tenant_id)
    found = session.scalar(query)
    if found is None:
        raise NotFound(f"There is no webhook endpoint {endpoint_id}.")
    return found


def with_secret(session: Session, tenant_id: str, endpoint_id: str) -> tuple[WebhookEndpoint, str]:
    """A tenant's endpoint and its newest secret. Raises NotFound."""
    lock_key(session, tenant_id, ENDPOINTS_LOCK)
    return get(session, tenant_id, endpoint_id), current_secret(session, endpoint_id)


def page(session: Session, tenant_id: str, limit: int, after: str | None) -> Sequence[WebhookEndpoint]:
    """A page of a tenant's endpoints, newest first, from behind the id `after`."""
    query = select(WebhookEndpoint).where(WebhookEndpoint.tenant_id == tenant_id)
    if after is not None:
        query = query.where(WebhookEndpoint.id < after)
    return session.scalars(query.order_by(WebhookEndpoint.id.desc()).limit(limit)).all()


def change(
    session: Session, tenant_id: str, endpoint_id: str, fields: dict[str, Any], *, actor: str
) -> WebhookEndpoint:
    """Set some of EndpointFields; what waits for the endpoint is sent to its new URL. Raises NotFound."""
    lock_key(session, tenant_id, ENDPOINTS_LOCK)
    endpoint = get(session, tenant_id, endpoint_id)
    new = {name: value for name, value in fields.items() if value != getattr(endpoint, name)}
    if new:
        statement = update(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id).values(updated_at=now(), **new)
        session.execute(statement, execution_options=NO_SYNC)
        session.refresh(endpoint)
        detail = {"changed": sorted(new), "url": endpoint.url, "event_types": endpoint.event_types}
        audit.record(session, tenant_id, actor, Action.WEBHOOK_CHANGED, endpoint_id, detail)
    return endpoint


def remove(session: Session, tenant_id: str, endpoint_id: str, *, actor: str) -> None:
    """Delete an endpoint; deliveries that wait for it are canceled when they are due. Raises NotFound."""
    lock_key(session, tenant_id, ENDPOINTS_LOCK)
    gone = delete(WebhookEndpoint).where(WebhookEndpoint.id == endpoint_id, WebhookEndpoint.tenant_id == tenant_id)
    url = session.scalar(gone.returning(WebhookEndpoint.url), execution_options=NO_SYNC)
    if url is None:
        raise NotFound(f"There is no webhook endpoint {endpoint_id}.")
    session.execute(delete(WebhookSecret).where(WebhookSecret.owner_id == endpoint_id), execution_options=NO_SYNC)
    audit.record(session, tenant_id, actor, Action.WEBHOOK_DELETED, endpoint_id, {"url": url})


# --- secrets ---------------------------------------------------------------------------------------------------------


def current_secret(session: Session, owner_id: str) -> str:
    """The newest secret of an endpoint or tenant; the first one is made here."""
    numbered = select(WebhookSecret.secret).where(WebhookSecret.owner_id == owner_id)
    newest = numbered.order_by(WebhookSecret.number.desc()).limit(1)
    if (secret := session.scalars(newest).first()) is not None:
        return secret
    first = {"owner_id": owner_id, "number": 1, "secret": new_secret(), "created_at": now()}
    session.execute(insert_new(session, WebhookSecret, "owner_id", "number").values(**first))
    return session.scalars(newest).one()  # of two that are made at once, one is kept


def rotate(session: Session, tenant_id: str, owner_id: str, overlap_seconds: float, *, actor: str) -> str:
    """Replace the secret of a tenant or of its endpoint; until the overlap ends, the old one signs as well.

    Older ones end now, so that at most two sign. Raises NotFound for an endpoint that is not the tenant's.
    """
    lock_key(session, tenant_id, ENDPOINTS_LOCK)
    endpoint = None if owner_id == tenant_id else get(session, tenant_id, owner_id)
    current_secret(session, owner_id)
    known = select(WebhookSecret).where(WebhookSecret.owner_id == owner_id)
    last = session.scalars(known.order_by(WebhookSecret.number.desc()).limit(1).with_for_update()).one()
    older = (WebhookSecret.owner_id == owner_id) & (WebhookSecret.number < last.number)
    session.execute(delete(WebhookSecret).where(older), execution_options=NO_SYNC)
    ends = update(WebhookSecret).where(WebhookSecret.owner_id == owner_id).values(expires_at=now() + overlap_seconds)
    session.execute(ends, execution_options=NO_SYNC)
    secret = new_secret()
    values = {"owner_id": owner_id, "number": last.number + 1, "secret": secret, "created_at": now()}
    session.execute(insert(WebhookSecret).values(**values))
    if endpoint is not None:
        touched = update(WebhookEndpoint).where(WebhookEndpoint.id == owner_id).values(updated_at=now())
        session.execute(touched, execution_options=NO_SYNC)
        session.refresh(endpoint)
    audit.record(session, tenant_id, actor, Action.WEBHOOK_ROTATED, owner_id, {"overlap_seconds": overlap_seconds})
    return secret


def signing_secrets(session: Session, owners: Sequence[str]) -> dict[str, list[str]]:
    """The secrets that sign for each of these endpoints and tenants now, the newest first."""
    valid = or_(WebhookSecret.expires_at.is_(None), WebhookSecret.expires_at > now())
    query = select(WebhookSecret).where(WebhookSecret.owner_id.in_(owners), valid)
    found: dict[str, list[str]] = {owner: [] for owner in owners}
    for row in session.scalars(query.order_by(WebhookSecret.number.desc())):
        found[row.owner_id].append(row.secret)
    return found


def hints(session: Session, endpoint_ids: Sequence[str]) -> dict[str, str]:
    """The hint of each endpoint's newest secret."""
    secrets = signing_secrets(session, endpoint_ids)
    return {owner: hint(values[0]) for owner, values in secrets.items() if values}


def _detail(fields: EndpointFields) -> dict[str, Any]:
    return {"name": fields.name, "url": fields.url, "event_types": fields.event_types}
