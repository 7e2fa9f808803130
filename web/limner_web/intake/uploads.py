"""Uploads of files: stored in parts as they are read, and given their row at the end."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import IO, Final

from sqlalchemy.orm import Session

from limner_shared.db import files
from limner_shared.db.file_tables import StoredFile
from limner_shared.db.files import NewFile
from limner_shared.domain.ids import new_id
from limner_shared.errors import BodyTooLarge, StorageFailed
from limner_web.intake.headers import JobHeaders
from limner_web.intake.idempotency import Kind, Repeat, create_once
from limner_web.services import Services

PART_BYTES: Final = 4 << 20


def store_file(services: Services, tenant_id: str, body: IO[bytes], about: NewFile, header: JobHeaders) -> str:
    """Store a file and return its id; a repeated upload returns the file of its first try.

    Of `about`, the name, the purpose and `expires_in` are used. Raises BodyTooLarge, StorageFull, StorageFailed, or
    IdempotencyConflict.
    """
    new, digest = replace(about, id=new_id("file"), size_bytes=0, parts=0), hashlib.sha256()
    kept = False

    def create(session: Session) -> str:
        files.add_file(session, tenant_id, new)
        return new.id

    try:
        while data := body.read(PART_BYTES):
            services.storage.call(services.blobs.put_file_part, new.id, new.parts, data)
            services.storage.call(digest.update, data)
            new = replace(new, parts=new.parts + 1, size_bytes=new.size_bytes + len(data))
            if new.size_bytes > services.settings.max_bulk_bytes:
                raise BodyTooLarge(f"A file may have at most {services.settings.max_bulk_bytes} bytes.")
        said = f"{new.name} {new.purpose} {new.expires_in} {digest.hexdigest()}"
        repeat = Repeat(
            header.idempotency_key, header.x_stainless_retry_count, hashlib.sha256(said.encode()).hexdigest()
        )
        file_id = create_once(services, tenant_id, repeat, Kind(create, str, files.file))
        kept = file_id == new.id
    finally:
        if not kept:
            delete_bytes(services, new.id, new.parts + 1)
    return file_id


def read_file(services: Services, row: StoredFile) -> Iterator[bytes]:
    """Yield a file's bytes, one part in memory. Raises NotFound or StorageFailed."""
    for number in range(row.parts):
        yield services.storage.call(services.blobs.get_file_part, row.id, number)


def delete_bytes(services: Services, file_id: str, parts: int) -> None:
    """Delete a file's parts. If the store fails, the dispatcher deletes them later, because they have no row."""
    with suppress(StorageFailed):
        services.storage.call(services.blobs.delete_file, file_id, parts)
