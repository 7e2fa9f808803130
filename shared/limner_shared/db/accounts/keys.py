"""API keys: `lmn_<lookup id>_<secret>_<checksum>`; only the secret's SHA-256 is stored."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import zlib
from collections.abc import Sequence

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from limner_shared.db.accounts.tenants import find_or_make
from limner_shared.db.engine import now
from limner_shared.db.ledger.types import NO_SYNC
from limner_shared.db.tables import ApiKey, Tenant
from limner_shared.errors import NotFound, Unauthorized

PREFIX = "lmn"


def create(session: Session, tenant_name: str, label: str) -> str:
    """Create a key, and its tenant if none has that name. Returns the key, which cannot be shown again."""
    tenant_id = find_or_make(session, tenant_name)
    lookup, secret = secrets.token_hex(6), secrets.token_hex(20)  # 160 random bits
    values = {"id": lookup, "tenant_id": tenant_id, "label": label, "digest": _digest(secret)}
    session.execute(insert(ApiKey).values(created_at=now(), **values))
    return f"{PREFIX}_{lookup}_{secret}_{_checksum(lookup, secret)}"


def list_keys(session: Session) -> Sequence[tuple[ApiKey, str]]:
    """All keys with their tenants' names, the oldest first."""
    query = select(ApiKey, Tenant.name).join(Tenant, Tenant.id == ApiKey.tenant_id).order_by(ApiKey.created_at)
    return [(row[0], row[1]) for row in session.execute(query)]


def revoke(session: Session, lookup: str) -> None:
    """Revoke a key. Raises NotFound if it is unknown or revoked."""
    statement = update(ApiKey).where(ApiKey.id == lookup, ApiKey.revoked_at.is_(None)).values(revoked_at=now())
    if session.execute(statement.returning(ApiKey.id), execution_options=NO_SYNC).first() is None:
        raise NotFound(f"There is no valid key {lookup}.")


def authenticate(session: Session, key: str) -> str:
    """The id of the key's tenant. Raises Unauthorized, whatever makes the key invalid."""
    prefix, lookup, secret, checksum = (*key.split("_"), "", "", "", "")[:4]
    if prefix == PREFIX and checksum == _checksum(lookup, secret):  # a typo costs no query
        query = select(ApiKey.tenant_id, ApiKey.digest).where(ApiKey.id == lookup, ApiKey.revoked_at.is_(None))
        found = session.execute(query).first()
        if found is not None and hmac.compare_digest(found.digest, _digest(secret)):
            return found.tenant_id
    raise Unauthorized("This API key is not valid: it is mistyped, unknown or revoked.")


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _checksum(lookup: str, secret: str) -> str:
    return f"{zlib.crc32(f'{lookup}_{secret}'.encode()):08x}"
