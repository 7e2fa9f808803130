"""API keys: made, rotated, revoked, listed and looked up."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, delete, func, insert, not_, or_, select, text, tuple_, update
from sqlalchemy.orm import Session

from limner_shared.db.account_tables import EXPIRING
from limner_shared.db.accounts import audit, key_text
from limner_shared.db.accounts.audit import Action
from limner_shared.db.accounts.tenants import find_or_make
from limner_shared.db.engine import clock, now
from limner_shared.db.many_rows import NO_SYNC
from limner_shared.db.tables import ApiKey, Tenant
from limner_shared.domain.access import (
    DEFAULT_OVERLAP_SECONDS,
    MAX_KEYS,
    Expiry,
    Scope,
    parse_scopes,
    read_scopes,
    require,
    store_scopes,
)
from limner_shared.errors import InvalidRequest, InvalidState, NotFound, Unauthorized

SESSION_LABEL: Final = "oidc:"
"""How the labels of keys begin that are made when someone signs in at an identity provider."""
LAST_USED_SECONDS: Final = 60
"""The last use of a key is written at most once in this time."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The key of a request, and what it may do. `is_use_due` tells that its last use should be written."""

    key_id: str
    tenant_id: str
    scopes: frozenset[Scope]
    is_use_due: bool
    requests_per_minute: int | None
    """The tenant's limit, if it has one."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made; `key` cannot be shown again."""

    id: str
    key: str
    scopes: frozenset[Scope]
    expires_at: float | None


@dataclass(frozen=True, slots=True)
class Rotation:
    """A new key, and the time when the one that it replaces expires."""

    new: NewKey
    old_expires_at: float


def create(
    session: Session,
    tenant_name: str,
    label: str,
    *,
    scopes: Iterable[str] = (),
    expiry: Expiry | None = None,
    actor: str = audit.OPERATOR,
    cell: str = "",
) -> str:
    """Create a key, and its tenant if none has that name. Returns the key, which cannot be shown again.

    Without scopes it may read and submit. Raises InvalidRequest for an unknown scope or an expiry that is not in the
    future.
    """
    granted = parse_scopes(scopes)
    expires_at = None if expiry is None else expiry.at(clock(session))
    tenant_id = find_or_make(session, tenant_name)
    made = _insert(session, cell, tenant_id, label, granted, expires_at)
    detail = {"label": label, "scopes": sorted(granted), "expires_at": expires_at}
    audit.record(session, tenant_id, actor, Action.KEY_CREATED, made.id, detail)
    return made.key


def create_by_key(
    session: Session,
    maker_id: str,
    label: str,
    scopes: frozenset[Scope],
    *,
    expiry: Expiry | None = None,
    cell: str = "",
) -> NewKey:
    """Create a key of the tenant of the key `maker_id`, which must be valid and have the scope `admin`.

    Without an expiry the new key expires when its maker does. Raises Unauthorized or AdminScopeRequired for the maker,
    and InvalidRequest for a key that would outlive it, for one of too many, and for a label as sessions have it.
    """
    columns = (ApiKey.tenant_id, ApiKey.scopes, ApiKey.expires_at)
    maker = session.execute(select(*columns).where(ApiKey.id == maker_id, _is_valid()).with_for_update()).first()
    if maker is None:
        raise Unauthorized
    require(read_scopes(maker.scopes), Scope.ADMIN)
    if label.startswith(SESSION_LABEL):  # signing out would revoke it
        raise InvalidRequest(f"A label cannot begin with {SESSION_LABEL!r}.", field="label")
    _require_fewer(session, maker.tenant_id, MAX_KEYS)
    expires_at = maker.expires_at if expiry is None else expiry.at(clock(session), field="expires_at")
    if maker.expires_at is not None and expires_at > maker.expires_at:
        raise InvalidRequest("A key cannot make a key that expires later than itself.", field="expires_at")
    made = _insert(session, cell, maker.tenant_id, label, scopes, expires_at)
    detail = {"label": label, "scopes": sorted(scopes), "expires_at": expires_at}
    audit.record(session, maker.tenant_id, maker_id, Action.KEY_CREATED, made.id, detail)
    return made


def repeat_creation(session: Session, key_id: str, *, tenant_id: str, actor: str) -> NewKey:
    """Give a key another secret, because the answer with its secret was lost. Raises InvalidState if it was used."""
    made = _renew_secret(session, key_id)
    if made is None:
        raise InvalidState(f"This request has made the key {key_id} already, which was used or revoked.")
    audit.record(session, tenant_id, actor, Action.KEY_CREATED, key_id, {"repeated": True})
    return made


def rotate(
    session: Session,
    key_id: str,
    *,
    overlap_seconds: float = DEFAULT_OVERLAP_SECONDS,
    expiry: Expiry | None = None,
    actor: str = audit.OPERATOR,
    cell: str = "",
) -> Rotation:
    """Replace a key by a new one with the same label and scopes; the old one expires after the overlap.

    The new key expires when the old one would have, unless `expiry` says otherwise. Raises NotFound if the key is not
    valid, InvalidState if it was rotated before, since of two rotations at once only one succeeds, and InvalidRequest
    if too many replaced keys are still valid.
    """
    columns = (ApiKey.tenant_id, ApiKey.label, ApiKey.scopes, ApiKey.expires_at, ApiKey.replaced_by)
    old = session.execute(select(*columns).where(ApiKey.id == key_id, _is_valid()).with_for_update()).first()
    if old is None:
        raise NotFound(f"There is no valid key {key_id}.")
    if old.replaced_by is not None:
        raise InvalidState(f"The key {key_id} was already replaced by {old.replaced_by}.", replaced_by=old.replaced_by)
    _require_fewer(session, old.tenant_id, 2 * MAX_KEYS)  # each of MAX_KEYS keys may be replaced once at a time
    moment = clock(session)
    scopes = read_scopes(old.scopes)
    expires_at = old.expires_at if expiry is None else expiry.at(moment)
    made = _insert(session, cell, old.tenant_id, old.label, scopes, expires_at)
    ends_at = moment + overlap_seconds if old.expires_at is None else min(old.expires_at, moment + overlap_seconds)
    changed = update(ApiKey).where(ApiKey.id == key_id).values(replaced_by=made.id, expires_at=ends_at)
    session.execute(changed, execution_options=NO_SYNC)
    detail = {"replaced_by": made.id, "scopes": sorted(scopes), "old_expires_at": ends_at, "expires_at": expires_at}
    audit.record(session, old.tenant_id, actor, Action.KEY_ROTATED, key_id, detail)
    return Rotation(made, ends_at)


def repeat_rotation(session: Session, key_id: str, *, actor: str = audit.OPERATOR) -> Rotation:
    """Give the key that has replaced this one another secret, because the answer with its secret was lost.

    Raises NotFound if the key is not valid, and InvalidState if the key that replaced it was used.
    """
    columns = (ApiKey.tenant_id, ApiKey.expires_at, ApiKey.replaced_by)
    old = session.execute(select(*columns).where(ApiKey.id == key_id, _is_valid())).first()
    if old is None or old.replaced_by is None or old.expires_at is None:
        raise NotFound(f"There is no valid key {key_id} that was replaced.")
    made = _renew_secret(session, old.replaced_by)
    if made is None:
        message = f"The key {key_id} was already replaced by {old.replaced_by}, which was used or revoked."
        raise InvalidState(message, replaced_by=old.replaced_by)
    detail = {"replaced_by": old.replaced_by, "repeated": True}
    audit.record(session, old.tenant_id, actor, Action.KEY_ROTATED, key_id, detail)
    return Rotation(made, old.expires_at)


def revoke(session: Session, lookup: str, *, tenant_id: str | None = None, actor: str = audit.OPERATOR) -> None:
    """Revoke a key. Raises NotFound if it is unknown, revoked or not of `tenant_id`, where that is given."""
    statement = update(ApiKey).where(ApiKey.id == lookup, ApiKey.revoked_at.is_(None)).values(revoked_at=now())
    if tenant_id is not None:
        statement = statement.where(ApiKey.tenant_id == tenant_id)
    found = session.execute(statement.returning(ApiKey.tenant_id, ApiKey.label), execution_options=NO_SYNC).first()
    if found is None:
        raise NotFound(f"There is no valid key {lookup}.")
    audit.record(session, found.tenant_id, actor, Action.KEY_REVOKED, lookup, {"label": found.label})


def end_session(session: Session, key_id: str) -> bool:
    """Revoke a key that was made for a session at an identity provider, which its label tells; others stay valid."""
    label = session.scalar(select(ApiKey.label).where(ApiKey.id == key_id, _is_valid()))
    if label is None or not label.startswith(SESSION_LABEL):
        return False
    revoke(session, key_id, actor=key_id)
    return True


def delete_ended_sessions(session: Session, label: str) -> None:
    """Delete the keys of a person's sessions that have ended: a key for each sign-in would stay otherwise. The audit
    log keeps what they were.
    """
    if label.startswith(SESSION_LABEL):
        session.execute(delete(ApiKey).where(ApiKey.label == label, not_(_is_valid())), execution_options=NO_SYNC)


def list_keys(session: Session) -> Sequence[tuple[ApiKey, str]]:
    """All keys with their tenants' names, the oldest first."""
    query = select(ApiKey, Tenant.name).join(Tenant, Tenant.id == ApiKey.tenant_id)
    return [(row[0], row[1]) for row in session.execute(query.order_by(ApiKey.created_at, ApiKey.id))]


def tenant_keys(session: Session, tenant_id: str, limit: int, after: str | None = None) -> Sequence[ApiKey]:
    """A page of a tenant's keys, newest first, from behind the key `after`."""
    query = select(ApiKey).where(ApiKey.tenant_id == tenant_id)
    if after is not None:
        last = select(ApiKey.created_at, ApiKey.id).where(ApiKey.id == after, ApiKey.tenant_id == tenant_id)
        query = query.where(tuple_(ApiKey.created_at, ApiKey.id) < last.scalar_subquery())
    return session.scalars(query.order_by(ApiKey.created_at.desc(), ApiKey.id.desc()).limit(limit)).all()


def authenticate(session: Session, key: str) -> Caller:
    """The owner of a key. Raises Unauthorized, whatever makes the key invalid."""
    parts = key_text.read(key)
    if parts is not None:
        lookup, secret = parts
        due = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at <= now() - LAST_USED_SECONDS)
        columns = (ApiKey.tenant_id, ApiKey.digest, ApiKey.scopes, due.label("due"), Tenant.requests_per_minute)
        query = select(*columns).join(Tenant, Tenant.id == ApiKey.tenant_id)
        found = session.execute(query.where(ApiKey.id == lookup, _is_valid())).first()
        if found is not None and hmac.compare_digest(found.digest, key_text.digest(secret)):
            return Caller(
                lookup, found.tenant_id, read_scopes(found.scopes), bool(found.due), found.requests_per_minute
            )
    raise Unauthorized("This API key is not valid: it is mistyped, unknown, expired or revoked.")


def note_use(session: Session, key_ids: Sequence[str]) -> None:
    """Set the last use of these keys to now, except where it was written within LAST_USED_SECONDS."""
    due = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at <= now() - LAST_USED_SECONDS)
    statement = update(ApiKey).where(ApiKey.id.in_(key_ids), due).values(last_used_at=now())
    session.execute(statement, execution_options=NO_SYNC)


def record_expired(session: Session, limit: int) -> int:
    """Record the expiry of keys in the audit log, once each. Returns the number of keys, at most `limit`."""
    due = and_(ApiKey.expires_at <= now(), text(EXPIRING))
    some = select(ApiKey.id).where(due).limit(limit)
    statement = update(ApiKey).where(ApiKey.id.in_(some), due).values(expiry_recorded=True)
    returned = statement.returning(ApiKey.id, ApiKey.tenant_id, ApiKey.expires_at, ApiKey.replaced_by)
    found = session.execute(returned, execution_options=NO_SYNC).all()
    for row in found:
        detail = {"expires_at": row.expires_at, "replaced_by": row.replaced_by}
        audit.record(session, row.tenant_id, audit.SYSTEM, Action.KEY_EXPIRED, row.id, detail)
    return len(found)


def _require_fewer(session: Session, tenant_id: str, keys: int) -> None:
    """Raise InvalidRequest if a tenant has this many valid keys."""
    count = select(func.count()).select_from(ApiKey).where(ApiKey.tenant_id == tenant_id, _is_valid())
    if (session.scalar(count) or 0) >= keys:
        raise InvalidRequest(f"At most {keys} valid keys are allowed: revoke one first.")


def _insert(
    session: Session, cell: str, tenant_id: str, label: str, scopes: frozenset[Scope], expires_at: float | None
) -> NewKey:
    lookup, secret = key_text.new_lookup(cell), key_text.new_secret()
    values: dict[str, Any] = {"id": lookup, "tenant_id": tenant_id, "label": label, "digest": key_text.digest(secret)}
    values |= {"scopes": store_scopes(scopes), "expires_at": expires_at}
    session.execute(insert(ApiKey).values(created_at=now(), **values))
    return NewKey(lookup, key_text.key_of(lookup, secret), scopes, expires_at)


def _renew_secret(session: Session, key_id: str) -> NewKey | None:
    """Replace the secret of a valid key that was never used; returns None for another one."""
    secret = key_text.new_secret()
    unused = (ApiKey.id == key_id) & ApiKey.last_used_at.is_(None) & _is_valid()
    statement = update(ApiKey).where(unused).values(digest=key_text.digest(secret))
    found = session.execute(statement.returning(ApiKey.scopes, ApiKey.expires_at), execution_options=NO_SYNC).first()
    if found is None:
        return None
    return NewKey(key_id, key_text.key_of(key_id, secret), read_scopes(found.scopes), found.expires_at)


def _is_valid() -> ColumnElement[bool]:
    return and_(ApiKey.revoked_at.is_(None), or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now()))
