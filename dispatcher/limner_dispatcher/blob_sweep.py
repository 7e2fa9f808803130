"""What the object store holds and no row refers to: found by comparing both, and deleted after two looks."""

from __future__ import annotations

import secrets
import time

from limner_shared.db import ledger, queries
from limner_shared.db.engine import Database
from limner_shared.storage.blobs import FOLDERS, INPUTS, Blobs
from limner_shared.telemetry import get_logger

log = get_logger(__name__)

EVERY_SECONDS = 60.0
"""One of the pictures' 256 folders is looked at each time: listing is slow, and all of them take four hours."""
ASIDE_SECONDS = 600.0
"""Longer than any worker needs from the storing of a picture to the commit of the row that refers to it: a lease."""
UNFINISHED_SECONDS = 86_400.0
YOUNG_SECONDS = 3600.0
"""A picture that was stored so recently may still get its row."""


class BlobSweep:
    """Finds pictures without a row, and ends what is set aside.

    A picture is stored before the row that refers to it is committed. So what has no row goes the way of all garbage:
    it is given up, set aside after a while unless it was written again, and deleted after another while unless a row
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
        self._folder = secrets.randbelow(len(FOLDERS))  # one that is often started again must not begin at the same
        self._looked_at = float("-inf")

    @property
    def is_due(self) -> bool:
        """Whether it is time for another folder."""
        return time.monotonic() - self._looked_at >= EVERY_SECONDS

    def look(self) -> None:
        """Give up the pictures of the next folder that no row refers to. Raises StorageFailed."""
        self._looked_at = time.monotonic()
        folder, self._folder = FOLDERS[self._folder], (self._folder + 1) % len(FOLDERS)
        self._blobs.drop_unfinished(folder, UNFINISHED_SECONDS)
        for page in self._blobs.stored(folder, self._young_seconds):
            with self._database.read() as session:
                unknown = queries.unknown_pictures(session, page)
            if unknown:
                with self._database.write() as session:
                    ledger.schedule_blob_deletion(session, unknown)
                log.info("found pictures that no row refers to", pictures=len(unknown))

    def purge(self) -> None:
        """Put back or delete what was set aside long enough ago. Raises StorageFailed."""
        for page in self._blobs.set_aside(self._aside_seconds):
            pictures = [blob.digest for blob in page if blob.folder != INPUTS]
            inputs = [blob.digest for blob in page if blob.folder == INPUTS]
            with self._database.read() as session:
                used = queries.pictures_in_use(session, pictures) | ledger.inputs_in_use(session, inputs)
            for blob in page:
                if blob.digest in used:
                    self._blobs.put_back(blob)
                else:
                    self._blobs.delete_for_good(blob)
