"""Idempotency keys: what a request with one has created, or answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from limner_shared.db.engine import clock, now
from limner_shared.db.many_rows import NO_SYNC
from limner_shared.db.tables import IdempotencyKey
from limner_shared.errors import IdempotencyConflict


@dataclass(frozen=True, slots=True)
class EarlierResult:
    """The result of an earlier request: the resource that it created, or its whole answer."""

    resource_id: str
    answer: Mapping[str, Any] | None = None


def lock_key(session: Session, tenant_id: str, key: str) -> None:
    """Lock an idempotency key until this transaction ends: others that find or store it wait.

    SQLite's write transactions exclude one another anyway.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"{tenant_id} {key}", 0))))


def store_idempotency_key(
    session: Session, tenant_id: str, key: str, digest: str, result: EarlierResult, *, replace: bool = False
) -> None:
    """Store the result of an idempotency key's request, in the same transaction. A second row for a key cannot commit.

    `replace` deletes the key's earlier row.
    """
    if replace:
        delete_idempotency_key(session, tenant_id, key)
    values = {"tenant_id": tenant_id, "key": key, "digest": digest, "resource_id": result.resource_id}
    answer = None if result.answer is None else dict(result.answer)
    session.execute(insert(IdempotencyKey).values(created_at=now(), answer=answer, **values))


def find_idempotency_key(
    session: Session, tenant_id: str, key: str, digest: str, seconds: float | None = None
) -> EarlierResult | None:
    """The result of this key's request if it was the same, or None if there is none or it is older than `seconds`.

    Raises IdempotencyConflict if the key was used for a different request.
    """
    found = session.get(IdempotencyKey, (tenant_id, key))
    if found is not None and found.digest != digest:
        raise IdempotencyConflict
    if found is None or (seconds is not None and found.created_at < clock(session) - seconds):
        return None
    return EarlierResult(found.resource_id, found.answer)


def read_idempotency_key(session: Session, tenant_id: str, key: str) -> tuple[str, str] | None:
    """The resource id and the request digest of a key, or None if it is unknown."""
    found = session.get(IdempotencyKey, (tenant_id, key))
    return None if found is None else (found.resource_id, found.digest)


def delete_idempotency_key(session: Session, tenant_id: str, key: str) -> None:
    """Delete a key if it exists."""
    same = (IdempotencyKey.tenant_id == tenant_id) & (IdempotencyKey.key == key)
    session.execute(delete(IdempotencyKey).where(same), execution_options=NO_SYNC)


def delete_old_idempotency_keys(session: Session, seconds: float) -> None:
    """Delete the idempotency keys that are older than `seconds`."""
    old = IdempotencyKey.created_at < now() - seconds
    session.execute(delete(IdempotencyKey).where(old), execution_options=NO_SYNC)
