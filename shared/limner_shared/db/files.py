"""The rows of uploaded files. A file is deleted with its row; its bytes are deleted from the store afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, delete, func, insert, select
from sqlalchemy.orm import Session

from limner_shared.db.engine import now
from limner_shared.db.file_tables import StoredFile
from limner_shared.db.many_rows import NO_SYNC
from limner_shared.db.tables import Tenant
from limner_shared.domain.durations import DAY_SECONDS
from limner_shared.errors import NotFound

SHORTEST_SECONDS: Final = 3600.0
"""The shortest retention of a file: a call or a batch that names it can read it."""
KEPT_DAYS: Final = (Tenant.keep_images_days, Tenant.keep_prompts_days, Tenant.keep_jobs_days)
"""The periods of a tenant of which the shortest one holds for its files."""


@dataclass(frozen=True, slots=True)
class NewFile:
    """An uploaded file whose bytes are already stored, or the output of a batch, which has no parts."""

    id: str
    name: str
    purpose: str
    size_bytes: int
    parts: int
    expires_in: float
    """Seconds; an uploaded file's are at most its tenant's retention."""
    batch_id: str | None = None
    content_type: str | None = None
    sha256: str | None = None
    metadata: dict[str, Any] | None = None


class Room(NamedTuple):
    """How many files a tenant may add, and of how many bytes together."""

    files: int
    bytes: int


def add_file(session: Session, tenant_id: str, new: NewFile) -> None:
    """Add the row of a file."""
    values = {"id": new.id, "tenant_id": tenant_id, "name": new.name, "purpose": new.purpose}
    values |= {"size_bytes": new.size_bytes, "parts": new.parts, "batch_id": new.batch_id}
    values |= {"content_type": new.content_type, "sha256": new.sha256, "extra": new.metadata}
    kept = None if new.batch_id is not None else _retention(session, tenant_id)
    life = new.expires_in if kept is None else min(new.expires_in, kept)
    session.execute(insert(StoredFile).values(created_at=now(), expires_at=now() + life, **values))


def room(session: Session, tenant_id: str, most: Room) -> Room:
    """What a tenant may still upload, of `most` altogether; 0 or less if nothing. Outputs of batches do not count."""
    uploaded = (StoredFile.tenant_id == tenant_id) & (StoredFile.expires_at > now()) & StoredFile.batch_id.is_(None)
    counted = select(func.count(), func.coalesce(func.sum(StoredFile.size_bytes), 0)).where(uploaded)
    number, size = session.execute(counted).one()
    return Room(most.files - int(number), most.bytes - int(size))


def file(session: Session, tenant_id: str, file_id: str) -> StoredFile:
    """A tenant's file that has not expired. Raises NotFound."""
    mine = (StoredFile.id == file_id) & (StoredFile.tenant_id == tenant_id) & (StoredFile.expires_at > now())
    found = session.scalar(select(StoredFile).where(mine))
    if found is None:
        raise NotFound(f"There is no file {file_id[:60]}; it may have expired.")
    return found


def files(
    session: Session,
    tenant_id: str,
    limit: int,
    *,
    after: str | None = None,
    purpose: str | None = None,
    oldest_first: bool = False,
    uploaded: bool = False,
) -> list[StoredFile]:
    """A page of a tenant's files, those that follow the file `after` in this order; only those `uploaded` if so."""
    query = select(StoredFile).where(StoredFile.tenant_id == tenant_id, StoredFile.expires_at > now())
    if after is not None:
        query = query.where(StoredFile.id > after if oldest_first else StoredFile.id < after)
    if purpose is not None:
        query = query.where(StoredFile.purpose == purpose)
    if uploaded:
        query = query.where(StoredFile.batch_id.is_(None))
    order = StoredFile.id if oldest_first else StoredFile.id.desc()
    return list(session.scalars(query.order_by(order).limit(limit)))


def delete_file(session: Session, tenant_id: str, file_id: str) -> bool:
    """Delete the row of a file; False if there is none."""
    mine = (StoredFile.id == file_id) & (StoredFile.tenant_id == tenant_id)
    return (
        session.scalar(delete(StoredFile).where(mine).returning(StoredFile.id), execution_options=NO_SYNC) is not None
    )


def expire_files(session: Session, limit: int) -> int:
    """Delete the rows of at most `limit` files that have expired, or are older than their tenant's retention, which may
    have changed since they were uploaded. Returns their number.
    """
    done = _delete(session, StoredFile.expires_at <= now(), limit)
    for tenant_id, life in lives(session):
        old = StoredFile.created_at <= now() - life
        mine = (StoredFile.tenant_id == tenant_id) & StoredFile.batch_id.is_(None)
        done += _delete(session, mine & old, limit - done)
    return done


def known_files(session: Session, file_ids: Sequence[str]) -> set[str]:
    """The subset of these ids that are files."""
    return set(session.scalars(select(StoredFile.id).where(StoredFile.id.in_(file_ids))))


def lives(session: Session) -> list[tuple[str, float]]:
    """The tenants with a retention, and for how many seconds each keeps uploaded files and batches that have ended."""
    limited = select(Tenant.id, *KEPT_DAYS).where(func.coalesce(*KEPT_DAYS).is_not(None))
    return [(tenant_id, _life(days) or 0.0) for tenant_id, *days in session.execute(limited)]


def _retention(session: Session, tenant_id: str) -> float | None:
    """For how many seconds a tenant keeps uploaded files; None without a limit."""
    return _life(session.execute(select(*KEPT_DAYS).where(Tenant.id == tenant_id)).one())


def _life(days: Sequence[float | None]) -> float | None:
    """For how many seconds files are kept: as long as pictures, prompts and jobs, since they may hold any of these."""
    kept = [each * DAY_SECONDS for each in days if each is not None]
    return max(SHORTEST_SECONDS, min(kept)) if kept else None


def _delete(session: Session, which: ColumnElement[bool], limit: int) -> int:
    if limit <= 0:
        return 0
    chosen = select(StoredFile.id).where(which).limit(limit)
    gone = delete(StoredFile).where(StoredFile.id.in_(chosen)).returning(StoredFile.id)
    return len(list(session.scalars(gone, execution_options=NO_SYNC)))
