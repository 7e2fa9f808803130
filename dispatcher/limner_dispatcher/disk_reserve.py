"""A reserve of disk space for retention: on a full disk, even a deletion needs space before it frees any."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from limner_shared.db.engine import Database, is_full
from limner_shared.telemetry import get_logger

log = get_logger(__name__)

RESERVE_BYTES: Final = 32 << 20
"""Several times what the largest transaction of retention writes."""
SPARE: Final = 4
"""The reserve is set aside while the disk has this many times its size free."""
CHUNK_BYTES: Final = 1 << 20


class DiskReserve:
    """A file beside a SQLite database, which is deleted when the disk is full: retention uses its space.

    A PostgreSQL has none: this process does not reach its disk.
    """

    def __init__(self, database: Database, size_bytes: int = RESERVE_BYTES) -> None:
        url = database.engine.url
        is_file = url.drivername == "sqlite" and bool(url.database)
        self._file = Path(f"{url.database}.reserve") if is_file else None
        self._size = size_bytes

    def keep(self) -> None:
        """Set the space aside, if it is not yet and the disk has room. One that a crash left incomplete is replaced."""
        if self._file is None:
            return
        try:
            if self._file.exists() and self._file.stat().st_size >= self._size:
                return
            if shutil.disk_usage(self._file.parent).free < SPARE * self._size:
                return
            with self._file.open("wb") as out:
                for _ in range(0, self._size, CHUNK_BYTES):
                    out.write(os.urandom(CHUNK_BYTES))  # a file system may compress zeros
        except OSError as error:  # the disk is filled meanwhile, or read-only
            log.warning("no space is kept for cleaning", error=str(error))

    def release_for(self, error: Exception) -> bool:
        """Give the space to the database if this error says that its disk is full; returns whether there was some."""
        if self._file is None or not is_full(error) or not self._file.exists():
            return False
        self._file.unlink(missing_ok=True)
        log.warning("the disk of the database is full, cleaning with the space that was kept for it")
        return True
