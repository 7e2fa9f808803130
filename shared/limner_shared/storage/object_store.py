"""Bytes by key, in a local folder or a bucket. Every call has a time limit, and a key holds either all of its bytes or
none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from urllib.parse import unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from limner_shared import metrics
from limner_shared.circuit_breaker import Breaker, BreakerState
from limner_shared.errors import ObjectUnreadable, StorageFailed, StorageFull
from limner_shared.storage.buckets import open_bucket
from limner_shared.storage.media_types import media_type
from limner_shared.storage.whole_files import move_file, write_files
from limner_shared.storage_failures import StorageReason, failure, reason_of

if TYPE_CHECKING:
    from obstore import ObjectMeta

T = TypeVar("T")

FAILURES: Final = 3
OPEN_SECONDS: Final = 10.0
"""After FAILURES consecutive failures a bucket is not called for this long: work with many calls must not wait for
each."""
TROUBLE_SECONDS: Final = 60.0
"""How long a failure is reported as long as no call has succeeded since."""
LISTED_AT_ONCE: Final = 1000
PROBE: Final = "probe"
"""The key, and the bytes, of an object that tells whether the store works."""
OF_OBJECTS: Final = frozenset({StorageReason.DENIED, StorageReason.OTHER})
"""Why a store that works may not return, copy or delete an object."""
WRITES: Final = frozenset({"put", "move"})
"""The operations that need space, for which a full store is an error of its own."""


class Store:
    """An object store. Every method raises StorageFailed, those that write raise StorageFull; the constructor raises
    ConfigurationError.
    """

    def __init__(self, url: str, before_call: Callable[[], None] = lambda: None) -> None:
        """`before_call` is called before each call of the store, which is one unit of work with a time limit."""
        self.folder: Path | None = None
        self._before_call = before_call
        self._breaker: Breaker | None = None
        self._failed_at = float("-inf")
        self._probed_at = float("-inf")
        """When the probe was returned last, in seconds of the monotonic clock."""
        if urlsplit(url).scheme == "file":
            self.folder = Path(unquote(urlsplit(url).path))
            self.folder.mkdir(parents=True, exist_ok=True)
            self._store: ObjectStore = LocalStore(self.folder)
        elif urlsplit(url).scheme == "memory":
            self._store = from_url(url)
        else:
            self._breaker = Breaker(FAILURES, OPEN_SECONDS, OPEN_SECONDS)
            self._store = open_bucket(url)

    @property
    def trouble(self) -> str:
        """Why this bucket is not called now, or failed lately and was not called since; otherwise empty."""
        if self._breaker is None or self._breaker.state is BreakerState.CLOSED:
            return ""
        return self._breaker.reason if time.monotonic() - self._failed_at < TROUBLE_SECONDS else ""

    def check(self) -> None:
        """Write and read a small object."""
        self.put(PROBE, PROBE.encode())
        if self.get(PROBE) != PROBE.encode():
            raise StorageFailed("The picture store does not return what was written.")

    def checked(self, read: Callable[[], T], key: str, message: str | None = None) -> T:
        """What `read` returns of an object. Raises ObjectUnreadable if the store returns others and not this one, such
        as one that it has archived: who waits for the store must not wait for that.
        """
        with suppress(StorageFailed):
            return read()
        self.check()
        try:
            return read()
        except StorageFailed as error:
            if reason_of(error) is StorageReason.BUSY:
                raise
            raise ObjectUnreadable(message, object=key, **error.details) from error

    def put(self, key: str, data: bytes, *, durable: bool = True) -> None:
        """Store bytes under a key. With `durable` they survive a power failure from then on."""
        self.put_all({key: data}, durable=durable)

    def put_all(self, items: Mapping[str, bytes], *, durable: bool = True) -> None:
        """Store bytes under several keys; a folder syncs them as a group. After an error any of them may be stored."""
        with self._call("put"):
            if self.folder is not None:
                write_files({f"{self.folder}/{key}": data for key, data in items.items()}, durable=durable)
            else:
                for key, data in items.items():
                    kind = None if self._breaker is None else media_type(key)
                    self._store.put(key, data, attributes=None if kind is None else {"Content-Type": kind})

    def get(self, key: str) -> bytes | None:
        """The bytes of a key, or None."""
        with self._call("get", key):
            try:
                return self._store.get(key).bytes().to_bytes()
            except FileNotFoundError as error:
                if reason_of(error) is StorageReason.NO_BUCKET:  # then no object is known to be missing
                    raise
                return None

    def age(self, key: str) -> float | None:
        """The seconds since a key was written, or None if it does not exist."""
        with self._call("age", key):
            try:
                return _age(self._store.head(key)["last_modified"])
            except FileNotFoundError:
                return None

    def delete(self, key: str) -> None:
        """Delete a key; a missing key is not an error."""
        with self._call("delete", key):
            try:
                self._store.delete(key)
            except FileNotFoundError:
                return

    def move(self, key: str, to: str, unless_younger: float = float("-inf")) -> bool:
        """Move a key's bytes and replace `to`; False if the key was written less than `unless_younger` seconds ago.

        The age of `to` starts at 0. A missing key counts as moved. A concurrent write is never lost: a folder's file is
        checked after it was moved out of the writers' way, and a bucket keeps both copies until the second check.
        """
        age = self.age(key)
        if age is None:
            return True
        if age < unless_younger:
            return False
        with self._call("move", key):
            try:
                if self.folder is not None:
                    return move_file(f"{self.folder}/{key}", f"{self.folder}/{to}", unless_younger)
                self._store.copy(key, to)
            except FileNotFoundError:
                return True
        again = self.age(key)
        if again is not None and again < unless_younger:
            self.delete(to)
            return False
        self.delete(key)
        return True

    def replace(self, key: str, to: str, unless_younger: float) -> bool:
        """Move as `move` does, where the store has no room for two copies or refuses to copy: `key` is deleted before
        `to` is written.

        If `to` cannot be written, the process ends in between, or the store refuses to return `key`, such as an
        archived object, the bytes are gone: only for what may be deleted.
        """
        data, age = self._readable(key), self.age(key)
        if age is None:
            return True
        if age < unless_younger:
            return False
        self.delete(key)
        if data is not None:
            with suppress(StorageFull, StorageFailed):
                self.put(to, data)
        return True

    def _readable(self, key: str) -> bytes | None:
        """The bytes of a key; None if it does not exist, or if the store returns other objects and not this one."""
        try:
            return self.get(key)
        except StorageFailed as error:
            if reason_of(error) in OF_OBJECTS and self._returns_probe():
                return None
            raise

    def list(self, prefix: str) -> Iterator[list[tuple[str, float]]]:
        """All keys in a folder with their ages in seconds, in pages."""
        for page in self._pages(prefix):
            yield [(entry["path"], _age(entry["last_modified"])) for entry in page]

    def sizes(self, prefix: str) -> Iterator[dict[str, int]]:
        """All keys in a folder (empty: in the store) with their sizes in bytes, in pages."""
        for page in self._pages(prefix):
            yield {entry["path"]: entry["size"] for entry in page}

    def _pages(self, prefix: str) -> Iterator[Sequence[ObjectMeta]]:
        with self._call("list"):
            pages = iter(cast("Any", self._store).list(prefix or None, chunk_size=LISTED_AT_ONCE))
        while True:
            with self._call("list"):
                page = next(pages, None)
            if page is None:
                return
            yield page

    @contextmanager
    def _call(self, operation: str, key: str = "") -> Iterator[None]:
        self._before_call()
        with metrics.BLOB_SECONDS.time(operation=operation):
            try:
                with self._errors(key):
                    yield
            except (StorageFull, StorageFailed) as error:
                metrics.BLOB_ERRORS.inc(operation=operation, code=error.code, reason=reason_of(error))
                if isinstance(error, StorageFull) and operation not in WRITES:  # such as a deletion in a quota
                    raise StorageFailed(error.message, **error.details) from error
                raise

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        if self._breaker is not None and self._breaker.state is BreakerState.OPEN:
            reason = StorageReason(self._breaker.reason)
            raise failure(reason, "it fails", "; it is tried again in a few seconds")
        try:
            yield
        except (BaseError, OSError) as error:
            reason = reason_of(error)
            if self._breaker is not None and self._counts(reason, key):
                self._breaker.failed(reason)
                self._failed_at = time.monotonic()
            raise failure(reason, type(error).__name__) from error
        else:
            if self._breaker is not None:
                self._breaker.succeeded()

    def _counts(self, reason: StorageReason, key: str) -> bool:
        """Whether an error tells of the whole store. A full one responds, and can be read; objects may be archived or
        locked, or their key of encryption lost, so that each call for their `key` is denied while others succeed.
        """
        if reason in OF_OBJECTS and key:
            return not self._returns_probe()
        return reason is not StorageReason.FULL

    def _returns_probe(self) -> bool:
        """Whether the store takes and returns a small object; a success is known for OPEN_SECONDS."""
        if time.monotonic() - self._probed_at < OPEN_SECONDS:
            return True
        try:
            self._store.put(PROBE, PROBE.encode())
            self._store.get(PROBE).bytes()
        except (BaseError, OSError):
            return False
        self._probed_at = time.monotonic()
        return True


def _age(written: datetime) -> float:
    return (datetime.now(UTC) - written).total_seconds()
