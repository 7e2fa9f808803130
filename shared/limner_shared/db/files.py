"""The rows of uploaded files. A file is deleted with its row; its bytes are deleted from the store afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from limner_shared.db.engine import now
from limner_shared.db.file_tables import StoredFile
from limner_shared.errors import NotFound

NO_SYNC: Final = {"synchronize_session": False}


@dataclass(frozen=True, slots=True)
class NewFile:
    """An uploaded file whose bytes are already stored, or the output of a batch, which has no parts."""

    id: str
    name: str
    purpose: str
    size_bytes: int
    parts: int
    expires_in: float
    """Seconds."""
    batch_id: str | None = None


def add_file(session: Session, tenant_id: str, new: NewFile) -> None:
    """Add the row of a file."""
    values = {"id": new.id, "tenant_id": tenant_id, "name": new.name, "purpose": new.purpose}
    values |= {"size_bytes": new.size_bytes, "parts": new.parts, "batch_id": new.batch_id}
    session.execute(insert(StoredFile).values(created_at=now(), expires_at=now() + new.expires_in, **values))


def file(session: Session, tenant_id: str, file_id: str) -> StoredFile:
    """A tenant's file that has not expired. Raises NotFound."""
    mine = (StoredFile.id == file_id) & (StoredFile.tenant_id == tenant_id) & (StoredFile.expires_at > now())
    found = session.scalar(select(StoredFile).where(mine))
    if found is None:
        raise NotFound(f"There is no file {file_id[:60]}; it may have expired.")
    return found


def files(
    session: Session, tenant_id: str, limit: int, *, after: str | None, purpose: str | None, oldest_first: bool
) -> list[StoredFile]:
    """A page of a tenant's files, those that follow the file `after` in this order."""
    query = select(StoredFile).where(StoredFile.tenant_id == tenant_id, StoredFile.expires_at > now())
    if after is not None:
        query = query.where(StoredFile.id > after if oldest_first else StoredFile.id < after)
    if purpose is not None:
        query = query.where(StoredFile.purpose == purpose)
    order = StoredFile.id if oldest_first else StoredFile.id.desc()
    return list(session.scalars(query.order_by(order).limit(limit)))


def delete_file(session: Session, tenant_id: str, file_id: str) -> bool:
    """Delete the row of a file; False if there is none."""
    mine = (StoredFile.id == file_id) & (StoredFile.tenant_id == tenant_id)
    return (
        session.scalar(delete(StoredFile).where(mine).returning(StoredFile.id), execution_options=NO_SYNC) is not None
    )


def expire_files(session: Session, limit: int) -> int:
    """Delete the rows of at most `limit` files that have expired, and return their number."""
    expired = select(StoredFile.id).where(StoredFile.expires_at <= now()).limit(limit)
    gone = delete(StoredFile).where(StoredFile.id.in_(expired)).returning(StoredFile.id)
    return len(list(session.scalars(gone, execution_options=NO_SYNC)))


def known_files(session: Session, file_ids: Sequence[str]) -> set[str]:
    """The subset of these ids that are files."""
    return set(session.scalars(select(StoredFile.id).where(StoredFile.id.in_(file_ids))))
