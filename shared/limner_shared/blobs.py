"""Where picture bytes live: content-addressed, in a local folder, S3, GCS or Azure through one interface."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from limner_shared.errors import NotFound, StorageFailed, StorageFull

HALF_MADE: Final = "half-made"
INPUTS: Final = "inputs"
NAMES_AT_ONCE: Final = 500


class Blobs:
    """Bytes by their SHA-256. A blob never changes, so that writing one twice is harmless."""

    def __init__(self, url: str) -> None:
        self.folder: Path | None = None
        if urlsplit(url).scheme == "file":
            self.folder = Path(unquote(urlsplit(url).path))
            self.folder.mkdir(parents=True, exist_ok=True)
            self._store: ObjectStore = LocalStore(self.folder)
        else:
            self._store = from_url(url)

    def put(self, data: bytes) -> str:
        """Store bytes and return their SHA-256 in hex. Raises StorageFull or StorageFailed."""
        digest = hashlib.sha256(data).hexdigest()
        self._put(_key(digest), data)
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes of a digest. Raises NotFound or StorageFailed."""
        found = self._get(_key(digest))
        if found is None:
            raise NotFound("The picture's bytes are no longer stored.")
        return found

    # --- what no row in the database speaks of: deleted when it is old ---

    def put_input(self, data: bytes) -> str:
        """Store what a job starts from, and return its SHA-256 in hex. Raises StorageFull or StorageFailed."""
        digest = hashlib.sha256(data).hexdigest()
        self._put(f"{INPUTS}/{digest}", data)
        return digest

    def get_input(self, digest: str) -> bytes:
        """The bytes of an input. Raises NotFound or StorageFailed."""
        found = self._get(f"{INPUTS}/{digest}")
        if found is None:
            raise NotFound("The picture that this job starts from is no longer stored: send it again.")
        return found

    def keep(self, name: str, data: bytes) -> None:
        """Store what is half made under a name, in place of what was there. Raises StorageFull or StorageFailed."""
        self._put(f"{HALF_MADE}/{name}", data)

    def kept(self, name: str) -> bytes | None:
        """What is half made under this name, if there is anything. Raises StorageFailed."""
        return self._get(f"{HALF_MADE}/{name}")

    def drop(self, name: str) -> None:
        """Forget what is half made under this name. Raises StorageFailed."""
        self._delete(f"{HALF_MADE}/{name}")

    def drop_older(
        self, folder: str, seconds: float, in_use: Callable[[Sequence[str]], Collection[str]] = lambda _names: ()
    ) -> int:
        """Forget what was stored in INPUTS or HALF_MADE so long ago, but for the names in use; returns how many.

        Raises StorageFailed.
        """
        try:
            entries = [entry for page in self._store.list(folder) for entry in page]
        except (BaseError, OSError) as error:
            raise StorageFailed from error
        old = [PurePosixPath(entry["path"]).name for entry in entries if _age(entry["last_modified"]) > seconds]
        deleted = 0
        for start in range(0, len(old), NAMES_AT_ONCE):
            names = old[start : start + NAMES_AT_ONCE]
            used = in_use(names)
            deleted += sum(self._delete_old(f"{folder}/{name}", seconds) for name in names if name not in used)
        return deleted

    def delete_input(self, digest: str, unless_written_within: float) -> bool:
        """Delete an input, as `delete` deletes a blob. Raises StorageFailed."""
        return self._delete_old(f"{INPUTS}/{digest}", unless_written_within)

    def delete(self, digest: str, unless_written_within: float) -> bool:
        """Delete a blob; False if it was written anew so few seconds ago, by somebody who may be about to refer to it.

        Raises StorageFailed.
        """
        return self._delete_old(_key(digest), unless_written_within)

    def _delete_old(self, key: str, seconds: float) -> bool:
        try:
            if _age(self._store.head(key)["last_modified"]) < seconds:
                return False
            self._store.delete(key)
        except FileNotFoundError:
            return True
        except (BaseError, OSError) as error:
            raise StorageFailed from error
        return True

    # --- keys ---

    def _put(self, key: str, data: bytes) -> None:
        try:
            if self.folder is not None:
                _write_whole(self.folder / key, data)
            else:
                self._store.put(key, data)
        except (BaseError, OSError) as error:
            if _is_full(error):
                raise StorageFull from error
            raise StorageFailed(f"The picture store cannot be written: {type(error).__name__}.") from error

    def _get(self, key: str) -> bytes | None:
        try:
            return self._store.get(key).bytes().to_bytes()
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as error:
            raise StorageFailed from error

    def _delete(self, key: str) -> None:
        try:
            self._store.delete(key)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise StorageFailed from error


def _age(written: datetime) -> float:
    return (datetime.now(UTC) - written).total_seconds()


def _write_whole(file: Path, data: bytes) -> None:
    """A file that is there complete or not at all; directly, since the store's own way costs three times as much."""
    part = file.with_name(f".{file.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        try:
            part.write_bytes(data)
        except FileNotFoundError:
            file.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(data)
        part.replace(file)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def _key(digest: str) -> str:
    return f"{digest[:2]}/{digest}"  # a folder of 4000 for each million: few enough, and few folders to be made


def _is_full(error: BaseException) -> bool:
    # The store wraps the operating system's error, and keeps only its text.
    text = str(error)
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or any(
        hint in text
        for hint in ("No space left", "StorageFull", "Disk quota", "os error 28", "os error 27", "FileTooLarge")
    )
