"""Finds blobs without a row by comparing the picture store with the database, and deletes them after two checks."""

from __future__ import annotations

import secrets
import time
from collections import Counter
from typing import Final

from limner_shared.db import ledger, queries
from limner_shared.db.engine import Database
from limner_shared.domain.durations import DAY_SECONDS
from limner_shared.storage.blobs import FOLDERS, INPUTS, Blobs
from limner_shared.storage_failures import counted
from limner_shared.telemetry import get_logger

log = get_logger(__name__)

EVERY_SECONDS: Final = 60.0
"""One of the 256 folders of pictures is checked each time, because listing is slow; all of them take four hours."""
ASIDE_SECONDS: Final = 600.0
"""Longer than a worker needs from storing a picture to committing its row, which is at most a lease."""
UNFINISHED_SECONDS: Final = DAY_SECONDS
YOUNG_SECONDS: Final = 3600.0
"""A picture that was stored within this time may still get its row."""


class BlobSweep:
    """Finds pictures without a row, and finishes the deletion of blobs that were set aside.

    A picture is stored before its row is committed. So a picture without a row is deleted like all garbage: it is
    marked, set aside after a grace period unless it was written again, and deleted after another one unless a row
    refers to it by then.
    """

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        aside_seconds: float = ASIDE_SECONDS,
        young_seconds: float = YOUNG_SECONDS,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._aside_seconds = aside_seconds
        self._young_seconds = young_seconds
        # A random start: a dispatcher that restarts often must not always begin at the same folder.
        self._folder = secrets.randbelow(len(FOLDERS))
        self._looked_at = float("-inf")

    @property
    def is_due(self) -> bool:
        """Whether the next folder is due."""
        return time.monotonic() - self._looked_at >= EVERY_SECONDS

    def mark_unreferenced(self) -> None:
        """Mark the pictures of the next folder that have no row as garbage. Raises StorageFailed."""
        self._looked_at = time.monotonic()
        folder, self._folder = FOLDERS[self._folder], (self._folder + 1) % len(FOLDERS)
        for page in self._blobs.stored(folder, self._young_seconds):
            with self._database.read() as session:
                unknown = queries.unknown_pictures(session, page)
            if unknown:
                with self._database.write() as session:
                    ledger.schedule_blob_deletion(session, unknown)
                log.info("found pictures that no row refers to", pictures=len(unknown))
        self._blobs.drop_unfinished(folder, UNFINISHED_SECONDS)

    def finish_deletions(self) -> None:
        """Put back or delete the blobs that were set aside long enough ago. Raises StorageFailed if they cannot be
        listed.
        """
        failures = Counter[str]()
        for page in self._blobs.list_set_aside(self._aside_seconds):
            pictures = [blob.digest for blob in page if blob.folder != INPUTS]
            inputs = [blob.digest for blob in page if blob.folder == INPUTS]
            with self._database.read() as session:
                used = queries.pictures_in_use(session, pictures) | ledger.inputs_in_use(session, inputs)
            for blob in page:
                with counted(failures):
                    if blob.digest in used:
                        self._blobs.put_back(blob)
                    else:
                        self._blobs.delete(blob)
        if failures:
            log.warning("could not delete pictures", reasons=dict(failures))
