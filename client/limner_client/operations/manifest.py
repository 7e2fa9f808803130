"""The files of a backup: `backup.json`, which is written last, the list of objects, and what they say."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, cast

from pydantic import BaseModel, ValidationError

from limner_client.operations.database_dump import DUMPS
from limner_shared.errors import ConfigurationError
from limner_shared.storage.blobs import FILES, INPUTS

MANIFEST: Final = "backup.json"
UNFINISHED: Final = "unfinished"
"""The file that marks a folder as a backup in progress."""
OBJECTS: Final = "objects.jsonl"
BLOBS: Final = "blobs"
FORMAT: Final = 1
KEY: Final = re.compile(rf"[0-9a-f]{{2}}/[0-9a-f]{{64}}|{INPUTS}/[0-9a-f]{{64}}|{FILES}/[\w.-]+")
"""The keys that a backup may name: it may come from elsewhere."""
READ_BYTES: Final = 1 << 20


class FileSum(BaseModel):
    """A file of the backup, and what its bytes must be."""

    name: str
    size_bytes: int
    sha256: str


LossReason = Literal["deleted", "missing", "damaged", "unreadable"]


class Lost(BaseModel):
    """An object that a row names and the backup does not have."""

    kind: str
    key: str
    reason: LossReason
    """`deleted`: its row was deleted as well while the backup was made."""


class Manifest(BaseModel):
    """What a complete backup holds."""

    format: int = FORMAT
    id: str
    limner: str
    """The version that wrote it."""
    created_at: float
    """When the database's snapshot was taken, in seconds since 1970."""
    database: Literal["sqlite", "postgresql"]
    schema_revision: str | None
    serves_from: str | None
    """The oldest schema revision whose programs this schema serves."""
    rows: dict[str, int]
    """Rows by table."""
    dump: FileSum
    objects: FileSum
    object_count: int
    object_bytes: int
    lost: list[Lost]


class StoredObject(NamedTuple):
    """An object of the backup."""

    key: str
    size_bytes: int
    sha256: str

    def line(self) -> str:
        """Its line in the list."""
        return json.dumps(self._asdict()) + "\n"


def sum_of(file: Path) -> FileSum:
    """Measure a file."""
    digest, size = hashlib.sha256(), 0
    with file.open("rb") as opened:
        while part := opened.read(READ_BYTES):
            digest.update(part)
            size += len(part)
    return FileSum(name=file.name, size_bytes=size, sha256=digest.hexdigest())


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest, and check that its files are whole. Raises ConfigurationError with what to do."""
    file = folder / MANIFEST
    if (folder / UNFINISHED).exists():
        raise ConfigurationError(f"The backup in {folder} is unfinished: run `limner backup {folder}` again.")
    if not file.is_file():
        raise ConfigurationError(f"{folder} is not a backup: it has no {MANIFEST}.")
    try:
        found = json.loads(file.read_text("utf-8"))
        if isinstance(found, dict) and cast("dict[str, Any]", found).get("format", 0) != FORMAT:
            raise ConfigurationError(f"The backup in {folder} has a format that this version does not know.")
        manifest = Manifest.model_validate(found)
    except (ValueError, ValidationError) as error:
        raise ConfigurationError(f"{file} is damaged: use another backup.") from error
    if manifest.dump.name != DUMPS[manifest.database] or manifest.objects.name != OBJECTS:
        raise ConfigurationError(f"{file} is damaged: use another backup.")
    for part in (manifest.dump, manifest.objects):
        if not (folder / part.name).is_file() or sum_of(folder / part.name) != part:
            raise ConfigurationError(f"{folder / part.name} is damaged or truncated: use another backup.")
    return manifest


def read_objects(folder: Path) -> Iterator[StoredObject]:
    """The objects of a backup whose manifest was read."""
    with (folder / OBJECTS).open(encoding="utf-8") as lines:
        for line in lines:
            found = StoredObject(**json.loads(line))
            if KEY.fullmatch(found.key) is None or ".." in found.key:
                raise ConfigurationError(
                    f"{folder / OBJECTS} names an object outside the picture store; do not use it."
                )
            yield found
