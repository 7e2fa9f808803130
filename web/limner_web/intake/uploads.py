"""Uploads of files: stored in parts as they are read, and given their row at the end. All APIs upload here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import IO, Final

from sqlalchemy.orm import Session

from limner_shared.db import files, ledger
from limner_shared.db.file_tables import StoredFile
from limner_shared.db.files import NewFile, Room
from limner_shared.domain.ids import new_id
from limner_shared.domain.request_limits import refuse
from limner_shared.errors import BodyTooLarge, LimnerError, Overloaded, StorageFailed, StorageFull, TooManyRequests
from limner_shared.storage import lost_objects
from limner_shared.storage.blobs import file_part_key
from limner_web.intake.busy import wait_while_busy
from limner_web.intake.headers import JobHeaders
from limner_web.intake.idempotency import Repeat, ResourceKind, create_once
from limner_web.limits import MAX_FILES, MAX_IMAGE_BYTES
from limner_web.services import Services

PART_BYTES: Final = 4 << 20
FORM_BYTES: Final = 64 << 10
"""What a form has beside its file, at most."""
QUOTA_LOCK: Final = "\x01files"
"""The key that uploads of one tenant lock while they count its files; no client can send it."""
LATER_SECONDS: Final = 3600
"""When an upload over the quota may be tried again: no client repeats it by itself after so long a time."""


def store_file(services: Services, tenant_id: str, body: IO[bytes], about: NewFile, header: JobHeaders) -> str:
    """Store a file and return its id; a repeated upload returns the file of its first try.

    Of `about`, the id, the size, the parts and the SHA-256 are not used. Raises BodyTooLarge, TooManyRequests,
    StorageFull, StorageFailed, or IdempotencyConflict.
    """
    left = require_room(services, tenant_id)
    new = _store_parts(services, tenant_id, body, replace(about, id=new_id("file"), size_bytes=0, parts=0), left)

    def create(session: Session) -> str:
        ledger.lock_key(session, tenant_id, QUOTA_LOCK)
        _require_room(_room(services, session, tenant_id), new.size_bytes)
        files.add_file(session, tenant_id, new)
        return new.id

    try:
        file_id = create_once(services, tenant_id, _repeat(new, header), ResourceKind(create, str, files.file))
    except LimnerError:
        delete_bytes(services, new.id, new.parts)
        raise
    # After any other error the row may exist all the same, because the reply to a COMMIT can be lost. If it does not,
    # the dispatcher deletes the parts.
    if file_id != new.id:
        delete_bytes(services, new.id, new.parts)
    return file_id


def require_room(services: Services, tenant_id: str, form_bytes: int | None = None) -> Room:
    """Return what a tenant may still keep. Raises TooManyRequests if the file in a form of `form_bytes` is more.

    Ask before the form is read: its file waits on this machine's disk until then.
    """
    with services.database.read() as session:
        left = _room(services, session, tenant_id)
    _require_room(left, max(0, (form_bytes or 0) - FORM_BYTES))
    return left


def read_file(
    services: Services, row: StoredFile, keep: Callable[[], None] = lambda: None, *, waits: bool = True
) -> Iterator[bytes]:
    """Yield a file's bytes, one part in memory.

    It `waits` while this process is busy; `keep` is called before each try to read. Raises StorageFailed or Overloaded;
    ObjectLost for a missing part, and instead of the last part if the parts are not the file that was uploaded.
    """
    digest, size = hashlib.sha256(), 0
    for number in range(row.parts):
        read = partial(_read_part, services, row, number, digest.update)
        part = wait_while_busy(read, keep=keep) if waits else read()
        size += len(part)
        if number == row.parts - 1 and (size, digest.hexdigest()) != (row.size_bytes, row.sha256 or digest.hexdigest()):
            raise lost_objects.damaged_file(file_part_key(row.id, number))
        yield part


def _read_part(services: Services, row: StoredFile, number: int, hash_more: Callable[[bytes], object]) -> bytes:
    part = services.storage.call_for(row.tenant_id, services.blobs.get_file_part, row.id, number)
    services.storage.call_for(row.tenant_id, hash_more, part)
    return part


def read_image(services: Services, tenant_id: str, field: str, file_id: str) -> bytes:
    """The bytes of an uploaded image.

    Raises NotFound, StorageFailed or Overloaded, at once while this process is busy, or InvalidRequest for one that is
    too large.
    """
    with services.database.read() as session:
        row = files.file(session, tenant_id, file_id)
    if row.size_bytes > MAX_IMAGE_BYTES:
        raise refuse(field, f"a file of {row.size_bytes} bytes", f"at most {MAX_IMAGE_BYTES} bytes")
    return b"".join(read_file(services, row, waits=False))


def delete_file(services: Services, tenant_id: str, file_id: str) -> None:
    """Delete a file: its row, then its bytes. Raises NotFound."""
    with services.database.write() as session:
        row = files.file(session, tenant_id, file_id)
        files.delete_file(session, tenant_id, file_id)
    delete_bytes(services, row.id, row.parts)


def delete_bytes(services: Services, file_id: str, parts: int) -> None:
    """Delete a file's parts. If the store fails, the dispatcher deletes them later, because they have no row."""
    with suppress(StorageFailed, StorageFull, Overloaded):
        services.storage.call(services.blobs.delete_file, file_id, parts)


def _store_parts(services: Services, tenant_id: str, body: IO[bytes], new: NewFile, left: Room) -> NewFile:
    """Store what is read from the body, and return the file with its size, parts and SHA-256.

    After an error nothing is left of it. Raises BodyTooLarge, TooManyRequests, StorageFull or StorageFailed.
    """
    digest = hashlib.sha256()
    try:
        while data := body.read(PART_BYTES):
            services.storage.call_for(tenant_id, services.blobs.put_file_part, new.id, new.parts, data)
            services.storage.call_for(tenant_id, digest.update, data)
            new = replace(new, parts=new.parts + 1, size_bytes=new.size_bytes + len(data))
            if new.size_bytes > services.settings.max_bulk_bytes:
                raise BodyTooLarge(f"A file may have at most {services.settings.max_bulk_bytes} bytes.")
            _require_room(left, new.size_bytes)
    except BaseException:
        delete_bytes(services, new.id, new.parts + 1)
        raise
    return replace(new, sha256=digest.hexdigest())


def _repeat(new: NewFile, header: JobHeaders) -> Repeat:
    """How a repeated upload is recognized: by its content, name, purpose, life and metadata."""
    said = f"{new.name} {new.purpose} {new.expires_in} {new.sha256}"
    if new.metadata is not None:
        said += json.dumps(new.metadata, sort_keys=True)
    return Repeat.of(header, hashlib.sha256(said.encode()).hexdigest())


def _room(services: Services, session: Session, tenant_id: str) -> Room:
    return files.room(session, tenant_id, Room(MAX_FILES, services.settings.max_file_bytes))


def _require_room(left: Room, size: int) -> None:
    """Raise TooManyRequests if one more file of `size` bytes is over the tenant's quota."""
    if left.files <= 0:
        message = f"A tenant may keep {MAX_FILES} uploaded files. Delete some, or wait until they expire."
        raise TooManyRequests(message, limit="files", retry_after=LATER_SECONDS)
    if size > left.bytes or left.bytes <= 0:
        message = f"{max(0, left.bytes)} bytes are left for this tenant's uploaded files. Delete some, or wait until "
        raise TooManyRequests(f"{message}they expire.", limit="max_file_bytes", retry_after=LATER_SECONDS)
