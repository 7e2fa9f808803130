"""Content-addressed storage of picture bytes, in a local folder, S3, GCS or Azure through one interface.

Deletion has two steps. An unreferenced blob is first set aside, where readers still find it; later it is either put
back, because a row refers to it after all, or deleted permanently. So a picture with equal bytes that is stored at the
moment of a deletion keeps its bytes, also on stores without conditional deletion.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from limner_shared.errors import StorageFailed, StorageFull
from limner_shared.storage.checksums import CHECKED, with_checksum, without_checksum
from limner_shared.storage.lost_objects import FILE_LOST, Loss, ObjectKind, lost_object
from limner_shared.storage.object_store import OF_OBJECTS, Store
from limner_shared.storage_failures import counted, reason_of

CHECKPOINTS: Final = "half-made"
INPUTS: Final = "inputs"
FILES: Final = "files"
ASIDE: Final = "aside"
RENDITIONS: Final = "renditions"
DIGEST_CHARS: Final = 64
FOLDERS: Final = tuple(f"{number:02x}" for number in range(256))
"""The folders of the pictures: the first two characters of a digest."""


class SetAsideBlob(NamedTuple):
    """A blob that was set aside; `folder` is INPUTS, or empty for pictures."""

    folder: str
    digest: str


class Blobs:
    """Bytes by their SHA-256. Blobs never change, so a repeated write is harmless."""

    def __init__(self, url: str, before_call: Callable[[], None] = lambda: None) -> None:
        """`before_call` is called before each call of the store, which is one unit of work with a time limit."""
        self._store = Store(url, before_call)
        self.folder: Path | None = self._store.folder

    @property
    def trouble(self) -> str:
        """Why the store failed lately in this process, if it is a bucket; otherwise empty."""
        return self._store.trouble

    def check(self) -> None:
        """Write and read a small object. Raises StorageFull or StorageFailed."""
        self._store.check()

    def put(self, data: bytes) -> str:
        """Store bytes and return their SHA-256 in hex. Raises StorageFull or StorageFailed."""
        return self.put_all([data])[0]

    def put_all(self, pictures: Sequence[bytes]) -> list[str]:
        """Store several pictures at the cost of few waits for the disk, and return their SHA-256 in hex.

        Raises StorageFull or StorageFailed; then any of them may be stored.
        """
        digests = [hashlib.sha256(data).hexdigest() for data in pictures]
        self._store.put_all({picture_key(digest): data for digest, data in zip(digests, pictures, strict=True)})
        return digests

    def get(self, digest: str) -> bytes:
        """The bytes of a digest. Raises ObjectLost if they are missing or damaged, or StorageFailed."""
        return self._read(ObjectKind.PICTURE, picture_key(digest), digest, "The picture's bytes are {}.")

    def put_input(self, data: bytes) -> str:
        """Store an input picture and return its SHA-256 in hex. Raises StorageFull or StorageFailed."""
        digest = hashlib.sha256(data).hexdigest()
        self._store.put(input_key(digest), data)
        return digest

    def get_input(self, digest: str) -> bytes:
        """The bytes of an input picture. Raises ObjectLost if they are missing or damaged, or StorageFailed."""
        message = "The picture that this job starts from is {}: send it again."
        return self._read(ObjectKind.INPUT, input_key(digest), digest, message)

    def get_checked(self, digest: str) -> bytes:
        """As `get`, but raises ObjectUnreadable where the store returns other objects and not this one."""
        return self._store.checked(partial(self.get, digest), picture_key(digest))

    def get_input_checked(self, digest: str) -> bytes:
        """As `get_input`, but raises ObjectUnreadable where the store returns other objects and not this one."""
        message = "The picture that this job starts from cannot be read, while others can: send it again."
        return self._store.checked(partial(self.get_input, digest), input_key(digest), message)

    def _read(self, kind: ObjectKind, key: str, digest: str, message: str) -> bytes:
        for _ in range(2):  # the bytes may have been damaged on their way
            found = read_kept(self._store, key)
            if found is None:
                raise lost_object(kind, key, Loss.MISSING, message)
            if hashlib.sha256(found).hexdigest() == digest:
                return found
        raise lost_object(kind, key, Loss.DAMAGED, message)

    # --- checkpoints: they have no rows, and each is overwritten repeatedly ---

    def store_checkpoint(self, name: str, data: bytes) -> None:
        """Store a checkpoint under a name and replace the one before. Raises StorageFull or StorageFailed."""
        # A lost checkpoint costs a few steps, which is not worth a wait for the disk; the checksum detects damage.
        self._store.put(_checkpoint(name), with_checksum(data), durable=False)

    def load_checkpoint(self, name: str) -> bytes | None:
        """The checkpoint of this name, or None. Raises StorageFailed, also for a damaged one."""
        found = self._store.get(_checkpoint(name))
        if found is None:
            return None
        data = without_checksum(found)
        if data is None:
            raise StorageFailed("The checkpoint is damaged.")
        return data

    def delete_checkpoint(self, name: str) -> None:
        """Delete the checkpoint of this name. Raises StorageFailed."""
        self._store.delete(_checkpoint(name))

    # --- renditions of pictures: made again when missing, and deleted with the picture or by age ---
    # Those in a folder have a checksum: they are not synced to the disk, so a power failure may leave a part of them,
    # and nothing else looks at their bytes. A bucket keeps whole objects, and delivers them to clients as they are.

    def get_rendition(self, digest: str, name: str) -> bytes | None:
        """A stored rendition of a picture; None if it is missing or damaged. Raises StorageFailed."""
        found = self._store.get(self._rendition(digest, name))
        return found if found is None or self.folder is None else without_checksum(found)

    def put_rendition(self, digest: str, name: str, data: bytes) -> None:
        """Store a rendition of a picture. Raises StorageFull or StorageFailed."""
        stored = data if self.folder is None else with_checksum(data)
        self._store.put(self._rendition(digest, name), stored, durable=False)

    def _rendition(self, digest: str, name: str) -> str:
        """The key of a rendition. Earlier releases, which would serve the checksum too, do not read the suffix."""
        return f"{_renditions(digest)}/{name}" + ("" if self.folder is None else CHECKED)

    def key_in_place(self, digest: str, rendition: str | None = None) -> str | None:
        """The key of a picture or of its rendition, if it is stored and not set aside. Raises StorageFailed."""
        key = picture_key(digest) if rendition is None else self._rendition(digest, rendition)
        return None if self._store.age(key) is None else key

    # --- uploaded files: their parts are named by the row, and those without a row are deleted by age ---

    def put_file_part(self, file_id: str, number: int, data: bytes) -> None:
        """Store a part of a file; the first is number 0. Raises StorageFull or StorageFailed."""
        self._store.put(file_part_key(file_id, number), data)

    def get_file_part(self, file_id: str, number: int) -> bytes:
        """A part of a file. Raises ObjectLost or StorageFailed."""
        key = file_part_key(file_id, number)
        found = self._store.get(key)
        if found is None:
            raise lost_object(ObjectKind.FILE, key, Loss.MISSING, FILE_LOST)
        return found

    def delete_file(self, file_id: str, parts: int) -> None:
        """Delete the parts of a file. Raises StorageFailed."""
        for number in range(parts):
            self._store.delete(file_part_key(file_id, number))

    # --- deletion ---

    def drop_older(
        self, folder: str, seconds: float, in_use: Callable[[Sequence[str]], Collection[str]] = lambda _names: ()
    ) -> tuple[int, Counter[str]]:
        """Delete the objects in INPUTS, FILES, CHECKPOINTS or RENDITIONS that are older than `seconds` and not in use.

        Returns their number, and why others could not be deleted. Raises StorageFailed if none can be listed.
        """
        done, failures = 0, Counter[str]()
        for page in self._store.list(folder):
            old = {_name(key): key for key, age in page if age > seconds}
            used = in_use(list(old)) if old else ()
            for key in [key for name, key in old.items() if name not in used]:
                with counted(failures):
                    done += self._drop_old(folder, key, seconds)
        return done, failures

    def set_aside(self, digest: str, unless_written_within: float) -> bool:
        """Set a blob aside; False if it was written within the last `unless_written_within` seconds, since a row may be
        about to refer to it.

        Raises StorageFailed.
        """
        return self._set_aside(picture_key(digest), unless_written_within)

    def set_aside_input(self, digest: str, unless_written_within: float) -> bool:
        """Set an input picture aside, as `set_aside` does. Raises StorageFailed."""
        return self._set_aside(input_key(digest), unless_written_within)

    def list_set_aside(self, seconds: float) -> Iterator[list[SetAsideBlob]]:
        """The blobs that were set aside more than `seconds` ago, in pages. Raises StorageFailed."""
        for page in self._store.list(ASIDE):
            old = [key for key, age in page if age > seconds]
            yield [SetAsideBlob(INPUTS if f"/{INPUTS}/" in key else "", _name(key)) for key in old]

    def put_back(self, blob: SetAsideBlob) -> None:
        """Put back a blob that was set aside and is in use. Raises StorageFailed."""
        key = _place(blob)
        self._store.move(f"{ASIDE}/{key}", key)

    def delete(self, blob: SetAsideBlob) -> None:
        """Delete a blob that was set aside, with its renditions. Raises StorageFailed."""
        if blob.folder != INPUTS:
            for page in self._store.list(_renditions(blob.digest)):
                for key, _ in page:
                    self._store.delete(key)
        self._store.delete(f"{ASIDE}/{_place(blob)}")

    def stored(self, folder: str, seconds: float) -> Iterator[list[str]]:
        """The digests of the pictures in one of FOLDERS that were stored more than `seconds` ago, in pages.

        Raises StorageFailed.
        """
        for page in self._store.list(folder):
            names = [_name(key) for key, age in page if age > seconds]
            yield [name for name in names if len(name) == DIGEST_CHARS]

    def drop_unfinished(self, folder: str, seconds: float) -> None:
        """Delete the partial files in one of FOLDERS that interrupted writers left more than `seconds` ago. Raises
        StorageFailed.
        """
        if self.folder is None:
            return
        for page in self._store.list(folder):
            for key in [key for key, age in page if age > seconds and _name(key).startswith(".")]:
                self._store.delete(key)

    def _set_aside(self, key: str, unless_written_within: float) -> bool:
        try:
            return self._store.move(key, f"{ASIDE}/{key}", unless_written_within)
        except (StorageFull, StorageFailed) as error:
            # A bucket has no room for a second copy, or does not copy what it archived.
            if isinstance(error, StorageFailed) and reason_of(error) not in OF_OBJECTS:
                raise
            return self._store.replace(key, f"{ASIDE}/{key}", unless_written_within)

    def _drop_old(self, folder: str, key: str, seconds: float) -> bool:
        name = _name(key)
        if folder == INPUTS and len(name) == DIGEST_CHARS:
            return self.set_aside_input(name, seconds)
        age = self._store.age(key)
        if age is None or age <= seconds:  # written again since it was listed
            return False
        self._store.delete(key)
        return True


def read_kept(store: Store, key: str) -> bytes | None:
    """The bytes of a picture or an input, also if it is set aside; None if it does not exist. Raises StorageFailed."""
    # It is read once more in its place, because it may be put back between the first two reads.
    reads = (store.get(place) for place in (key, f"{ASIDE}/{key}", key))
    return next((found for found in reads if found is not None), None)


def _name(key: str) -> str:
    """The last part of a key. `pathlib` would intern it, and there are millions."""
    return key.rpartition("/")[2]


def _place(blob: SetAsideBlob) -> str:
    return input_key(blob.digest) if blob.folder == INPUTS else picture_key(blob.digest)


def picture_key(digest: str) -> str:
    """The key of a picture in the store."""
    return f"{digest[:2]}/{digest}"  # 256 folders of about 4000 files for each million: few to create, small to list


def input_key(digest: str) -> str:
    """The key of an input picture in the store."""
    return f"{INPUTS}/{digest}"


def _renditions(digest: str) -> str:
    return f"{RENDITIONS}/{picture_key(digest)}"


def _checkpoint(name: str) -> str:
    """The key of a checkpoint. The suffix distinguishes it from those before 0.1.0, which have no checksum."""
    return f"{CHECKPOINTS}/{name}{CHECKED}"


def file_part_key(file_id: str, number: int) -> str:
    """The key of a part of an uploaded file in the store; the first is number 0."""
    return f"{FILES}/{file_id}.{number}"


def file_of(part: str) -> str:
    """The id of the file that a part belongs to, from the part's name."""
    return part.partition(".")[0]
