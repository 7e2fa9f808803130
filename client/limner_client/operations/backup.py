"""`limner backup`: one folder with the database as of one moment and every object of the picture store that it names.

The database's snapshot is taken first and the objects are copied afterwards, while the service runs: what is stored
later is not in the snapshot, and what is deleted meanwhile is reported. The manifest is written last, so a folder is a
complete backup or says that it is not one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import secrets
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import IO, Final

from sqlalchemy.orm import Session

from limner_client.operations.database_dump import DUMPS, check_tools, kind_of, row_counts, snapshot
from limner_client.operations.manifest import (
    BLOBS,
    MANIFEST,
    OBJECTS,
    UNFINISHED,
    FileSum,
    LossReason,
    Lost,
    Manifest,
    StoredObject,
    sum_of,
)
from limner_shared.db.engine import Database
from limner_shared.db.schema import require_current, schema_revisions
from limner_shared.errors import ConfigurationError, ObjectUnreadable, StorageFull
from limner_shared.settings import Settings
from limner_shared.storage.lost_objects import ObjectKind
from limner_shared.storage.object_store import Store
from limner_shared.storage.references import ObjectReference, named_still, read_object, references
from limner_shared.storage.whole_files import write_files
from limner_shared.storage_failures import is_full

AT_ONCE: Final = 64
"""Objects that are written as a group: their folders are synced once."""
PRIVATE: Final = 0o700
WANTED: Final = "wanted.jsonl"

Tell = Callable[[str], object]


def back_up(settings: Settings, folder: Path, tell: Tell) -> Manifest:
    """Write a backup to `folder`, which must not exist, be empty, or hold an unfinished backup, which is continued.

    Raises ConfigurationError, ServiceUnavailable, StorageFailed or StorageFull.
    """
    check_tools(settings.session_database_url)
    require_current(settings.session_database_url)
    try:
        with _locked(folder):
            return _Backup(settings, folder, tell).run()
    except (OSError, sqlite3.Error) as error:
        if is_full(error):
            message = f"The disk of {folder} is full: free some space and run the same command again; it continues."
            raise StorageFull(message) from error
        raise ConfigurationError(f"{folder} cannot be written: {error}.") from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Mark a folder as an unfinished backup and lock it, so that two processes never write the same one."""
    if (folder / MANIFEST).exists() and not (folder / UNFINISHED).exists():
        raise ConfigurationError(f"{folder} holds a complete backup: choose another folder.")
    folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE)
    if not (folder / UNFINISHED).exists() and any(folder.iterdir()):
        raise ConfigurationError(f"{folder} is not empty: choose another folder.")
    with (folder / UNFINISHED).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(f"Another process writes a backup to {folder}: wait for it.") from error
        yield


@dataclass
class _Backup:
    settings: Settings
    folder: Path
    tell: Tell
    lost: list[Lost] = field(default_factory=list[Lost])
    count: int = 0
    size: int = 0

    def run(self) -> Manifest:
        (self.folder / MANIFEST).unlink(missing_ok=True)  # of a backup that ended between its last two steps
        url = self.settings.session_database_url
        created_at = time.time()
        rows = self._snapshot_database(url)
        self.tell(f"database: {rows['jobs']} jobs, {rows['images']} images")
        self._copy_objects()
        self._delete_others()
        dump, objects = sum_of(self.folder / DUMPS[kind_of(url)]), sum_of(self.folder / OBJECTS)
        manifest = self._manifest(created_at, rows, dump, objects)
        write_files({str(self.folder / MANIFEST): manifest.model_dump_json(indent=1).encode()}, durable=True)
        (self.folder / UNFINISHED).unlink()
        return manifest

    def _manifest(self, created_at: float, rows: dict[str, int], dump: FileSum, objects: FileSum) -> Manifest:
        revision, serves_from = self._revisions
        return Manifest(
            id=secrets.token_hex(8),
            limner=version("limner"),
            created_at=created_at,
            database="sqlite" if dump.name == DUMPS["sqlite"] else "postgresql",
            schema_revision=revision,
            serves_from=serves_from,
            rows=rows,
            dump=dump,
            objects=objects,
            object_count=self.count,
            object_bytes=self.size,
            lost=self.lost,
        )

    # --- database ---

    def _snapshot_database(self, url: str) -> dict[str, int]:
        """Write the dump, and the list of the objects that it names; returns the numbers of rows."""
        database = Database(url)
        try:
            self._revisions = schema_revisions(database)
        finally:
            database.dispose()
        dump = self.folder / DUMPS[kind_of(url)]
        part = dump.with_name(f"{dump.name}.part")
        part.unlink(missing_ok=True)
        with snapshot(url, part) as session:
            rows = row_counts(session)
            self._list_wanted(session)
        part.replace(dump)
        return rows

    def _list_wanted(self, session: Session) -> None:
        with (self.folder / WANTED).open("w", encoding="utf-8") as out:
            for page in references(session):
                out.writelines(json.dumps(list(each)) + "\n" for each in page)

    # --- objects ---

    def _copy_objects(self) -> None:
        source, target = Store(self.settings.resolved_blob_url), Store((self.folder / BLOBS).absolute().as_uri())
        with (self.folder / OBJECTS).open("w", encoding="utf-8") as listed:
            for group in self._wanted():
                self._copy_group(source, target, group, listed)
        (self.folder / WANTED).unlink()

    def _wanted(self) -> Iterator[list[ObjectReference]]:
        group: list[ObjectReference] = []
        with (self.folder / WANTED).open(encoding="utf-8") as lines:
            for line in lines:
                kind, *others = json.loads(line)
                group.append(ObjectReference(ObjectKind(kind), *others))
                if len(group) == AT_ONCE:
                    yield group
                    group = []
        yield group

    def _copy_group(self, source: Store, target: Store, group: Sequence[ObjectReference], listed: IO[str]) -> None:
        new: dict[str, bytes] = {}
        for reference in group:
            data = target.get(reference.key)  # from an earlier run of an unfinished backup
            if data is None or reference.is_damaged(data):
                try:
                    data = read_object(source, reference)
                except ObjectUnreadable:
                    self._report_lost(reference, "unreadable")
                    continue
                if data is None or reference.is_damaged(data):
                    self._report_lost(reference, "missing" if data is None else "damaged")
                    continue
                new[reference.key] = data
            self.count, self.size = self.count + 1, self.size + len(data)
            listed.write(StoredObject(reference.key, len(data), hashlib.sha256(data).hexdigest()).line())
        target.put_all(new)

    def _report_lost(self, reference: ObjectReference, reason: LossReason) -> None:
        database = Database(self.settings.session_database_url)
        try:
            with database.read() as session:
                named = named_still(session, [reference])
        finally:
            database.dispose()
        if reason == "missing" and not named:
            reason = "deleted"
        self.lost.append(Lost(kind=reference.kind, key=reference.key, reason=reason))
        self.tell(f"{reference.kind} {reference.key}: {reason}")

    def _delete_others(self) -> None:
        """Delete what an earlier run copied and this snapshot does not name."""
        blobs = self.folder / BLOBS
        with (self.folder / OBJECTS).open(encoding="utf-8") as lines:
            named = {json.loads(line)["key"] for line in lines}
        for file in [each for each in blobs.rglob("*") if each.is_file()]:
            if str(file.relative_to(blobs)) not in named:
                file.unlink()
        for name in DUMPS.values():
            if name != DUMPS[kind_of(self.settings.session_database_url)]:
                (self.folder / name).unlink(missing_ok=True)
        for left in self.folder.glob("*.part"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
