"""`limner restore`: an installation from a backup. The pictures are restored first and the database last, so nothing
finds rows without their pictures.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path, PurePosixPath
from typing import Final

from sqlalchemy import table

from limner_client.local.stack import lock_data_dir
from limner_client.operations.database_dump import POSTGRESQL, kind_of, load, row_count, table_names
from limner_client.operations.manifest import BLOBS, Manifest, StoredObject, read_manifest, read_objects
from limner_shared.db.engine import Database
from limner_shared.db.postgresql_engine import parse
from limner_shared.db.schema import is_current, known_revisions, upgrade
from limner_shared.errors import ConfigurationError, StorageFailed, StorageFull
from limner_shared.settings import Settings
from limner_shared.storage.object_store import Store
from limner_shared.storage_failures import is_full

MARKER: Final = "restoring"
"""The key that marks a picture store to which an unfinished restore has written; it holds the backup's id."""
AT_ONCE: Final = 64
OWN_FILES: Final = {"stack.lock", "blobs", "logs"}
"""What a data folder may hold before a restore: nothing of value, or what is checked by itself."""

Tell = Callable[[str], object]


def restore(settings: Settings, folder: Path, tell: Tell) -> Manifest:
    """Restore a backup into the configured database and picture store, which must be empty.

    After an interruption the same restore continues. Raises ConfigurationError, ServiceUnavailable, StorageFailed or
    StorageFull.
    """
    manifest = read_manifest(folder)
    url = settings.session_database_url
    _check_database(manifest, url)
    try:
        with nullcontext() if manifest.database == POSTGRESQL else lock_data_dir(settings.data_dir):
            store = Store(settings.resolved_blob_url)
            continued = _is_continued(settings, manifest, store)
            if not continued:
                _check_data_dir(settings, manifest)
            loaded = _is_loaded(url)
            if loaded and not continued:
                raise ConfigurationError(f"There is a database already: {_place(url)}. Restore into an empty one.")
            _restore_objects(store, manifest, folder, tell)
            _restore_database(url, manifest, folder, loaded=loaded)
            store.delete(MARKER)
    except OSError as error:
        if is_full(error):
            raise StorageFull("The disk is full: free some space and run the same command again.") from error
        raise ConfigurationError(f"The backup cannot be restored: {error}.") from error
    tell(f"database: {manifest.rows['jobs']} jobs, {manifest.rows['images']} images")
    return manifest


def _check_database(manifest: Manifest, url: str) -> None:
    if kind_of(url) != manifest.database:
        raise ConfigurationError(
            f"The backup is of a {manifest.database} database: set LIMNER_DATABASE_URL to an empty one of that kind."
        )
    known = known_revisions(url)
    if manifest.schema_revision not in known and manifest.serves_from not in known:
        raise ConfigurationError(
            f"The backup was made by Limner {manifest.limner}, whose schema {manifest.schema_revision} this version "
            "does not know: install that version or a newer one."
        )


def _is_continued(settings: Settings, manifest: Manifest, store: Store) -> bool:
    """Whether a restore of this backup was interrupted here. Raises ConfigurationError if the store holds other
    objects.
    """
    started = store.get(MARKER)
    if started is not None and started.decode(errors="replace") != manifest.id:
        raise ConfigurationError(
            f"The picture store {settings.resolved_blob_url} holds part of another backup: delete it first."
        )
    keys = (key for page in store.sizes("") for key in page)
    if started is None and any(not PurePosixPath(key).name.startswith(".") for key in keys):  # but for unfinished files
        raise ConfigurationError(f"The picture store {settings.resolved_blob_url} is not empty: choose another one.")
    return started is not None


def _check_data_dir(settings: Settings, manifest: Manifest) -> None:
    if manifest.database == POSTGRESQL:
        return
    database = Path(parse(settings.session_database_url).database or "").name
    names = {each.name for each in settings.data_dir.iterdir()} - OWN_FILES - {database}
    # The database's lock and reserve hold no data; a write-ahead log, which has no dot before its suffix, does.
    if others := {name for name in names if not name.startswith(f"{database}.")}:
        raise ConfigurationError(f"{settings.data_dir} is not empty ({min(others)}): choose another LIMNER_DATA_DIR.")


def _is_loaded(url: str) -> bool:
    """Whether there is a database with tables, or a file in SQLite's place."""
    return bool(table_names(url)) if kind_of(url) == POSTGRESQL else _file(url).exists()


def _place(url: str) -> str:
    return parse(url).render_as_string(hide_password=True)


def _file(url: str) -> Path:
    return Path(parse(url).database or "")


def _restore_objects(store: Store, manifest: Manifest, folder: Path, tell: Tell) -> None:
    store.put(MARKER, manifest.id.encode())
    backup = Store((folder / BLOBS).absolute().as_uri())
    group: list[StoredObject] = []
    for each in read_objects(folder):
        group.append(each)
        if len(group) == AT_ONCE:
            _restore_group(backup, store, group)
            group = []
    _restore_group(backup, store, group)
    tell(f"objects: {manifest.object_count}, {manifest.object_bytes >> 20} MB")


def _restore_group(backup: Store, store: Store, group: Sequence[StoredObject]) -> None:
    new: dict[str, bytes] = {}
    for each in group:
        data = backup.get(each.key)
        if data is None or hashlib.sha256(data).hexdigest() != each.sha256:
            raise StorageFailed(f"The backup's {BLOBS}/{each.key} is missing or damaged: use another backup.")
        if store.get(each.key) != data:
            new[each.key] = data
    store.put_all(new)


def _restore_database(url: str, manifest: Manifest, folder: Path, *, loaded: bool) -> None:
    """Load the dump, unless that was done before an interruption."""
    dump = folder / manifest.dump.name
    if manifest.database == POSTGRESQL:
        if not loaded:
            load(url, dump)
        _finish_database(url, manifest)
    elif not loaded:
        part = _file(url).with_name(f"{_file(url).name}.part")
        part.parent.mkdir(parents=True, exist_ok=True)
        for left in part.parent.glob(f"{part.name}*"):  # with its log, which must not be applied to another copy
            left.unlink()
        shutil.copyfile(dump, part)
        _finish_database(f"sqlite:///{part}", manifest)
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        part.replace(_file(url))


def _finish_database(url: str, manifest: Manifest) -> None:
    """Compare the numbers of rows, and upgrade an older schema."""
    there = set(table_names(url))
    database = Database(url)
    try:
        with database.read() as session:
            found = {name: row_count(session, table(name)) for name in manifest.rows if name in there}
        different = sorted(name for name, count in manifest.rows.items() if found.get(name, 0) != count)
        if different:
            raise ConfigurationError(f"The restored database has other rows than the backup: {different[0]}.")
        if is_current(database, url):
            return
    finally:
        database.dispose()
    upgrade(url)
