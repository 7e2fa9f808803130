"""The objects of the picture store that the database's rows name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from limner_shared.db import queries
from limner_shared.db.file_tables import StoredFile
from limner_shared.db.ledger import inputs_in_use
from limner_shared.db.tables import Image, Input
from limner_shared.storage.blobs import file_of, file_part_key, input_key, picture_key, read_kept
from limner_shared.storage.lost_objects import ObjectKind
from limner_shared.storage.object_store import Store

PAGE: Final = 1000


class ObjectReference(NamedTuple):
    """An object that a row names. `name` is its digest, or the file's id and the part's number."""

    kind: ObjectKind
    name: str
    key: str
    size_bytes: int | None = None

    @property
    def sha256(self) -> str | None:
        """The SHA-256 that the object's bytes must have; None for a part of a file, whose bytes have no digest."""
        return None if self.kind is ObjectKind.FILE else self.name

    def is_damaged(self, data: bytes) -> bool:
        """Whether these bytes are not the object's."""
        return self.sha256 is not None and hashlib.sha256(data).hexdigest() != self.sha256


def references(session: Session) -> Iterator[list[ObjectReference]]:
    """Every object that a row names, once, in pages."""
    largest = func.max(Image.size_bytes)
    for digests in _pages(session, Image.sha256):
        sizes = session.execute(select(Image.sha256, largest).where(Image.sha256.in_(digests)).group_by(Image.sha256))
        yield [ObjectReference(ObjectKind.PICTURE, digest, picture_key(digest), size) for digest, size in sizes]
    for digests in _pages(session, Input.sha256):
        used = sorted(inputs_in_use(session, digests))
        yield [ObjectReference(ObjectKind.INPUT, digest, input_key(digest)) for digest in used]
    for ids in _pages(session, StoredFile.id):
        parts = session.execute(select(StoredFile.id, StoredFile.parts).where(StoredFile.id.in_(ids)))
        yield [_file_part(file_id, number) for file_id, count in parts for number in range(count)]


def named_still(session: Session, some: Sequence[ObjectReference]) -> list[ObjectReference]:
    """The subset of these objects that a row names now."""
    by_kind = {kind: [each.name for each in some if each.kind is kind] for kind in ObjectKind}
    files = {file_of(name) for name in by_kind[ObjectKind.FILE]}
    known = set(session.scalars(select(StoredFile.id).where(StoredFile.id.in_(files))))
    named = {
        ObjectKind.PICTURE: queries.pictures_in_use(session, by_kind[ObjectKind.PICTURE]),
        ObjectKind.INPUT: inputs_in_use(session, by_kind[ObjectKind.INPUT]),
        ObjectKind.FILE: {name for name in by_kind[ObjectKind.FILE] if file_of(name) in known},
    }
    return [each for each in some if each.name in named[each.kind]]


def read_object(store: Store, reference: ObjectReference) -> bytes | None:
    """The bytes of an object, also if it is set aside for deletion; None if it does not exist.

    Raises ObjectUnreadable if the store returns other objects and not this one, or StorageFailed.
    """
    read = store.get if reference.kind is ObjectKind.FILE else partial(read_kept, store)
    return store.checked(partial(read, reference.key), reference.key)


def _file_part(file_id: str, number: int) -> ObjectReference:
    return ObjectReference(ObjectKind.FILE, f"{file_id}.{number}", file_part_key(file_id, number))


def _pages(session: Session, column: InstrumentedAttribute[str]) -> Iterator[list[str]]:
    last = ""
    while True:
        query = select(column).where(column > last).distinct().order_by(column).limit(PAGE)
        values = list(session.scalars(query))
        if not values:
            return
        yield values
        last = values[-1]
