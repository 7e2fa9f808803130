"""Retention: once a minute, what its tenant no longer keeps is deleted, a few rows at a time."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy.orm import Session

from limner_shared import ledger
from limner_shared.blobs import HALF_MADE, INPUTS, Blobs
from limner_shared.database import Database
from limner_shared.errors import StorageFailed
from limner_shared.telemetry import get_logger

log = get_logger(__name__)

EVERY_SECONDS = 60.0
ROWS = 500
LISTED_EVERY_SECONDS = 3600.0
HALF_MADE_SECONDS = 86_400.0
"""A job that no worker has gone on with for so long has ended, or begins anew."""
GRACE_SECONDS = 600.0
"""A worker stores a picture before it refers to it: for so long a blob that nobody refers to may be such a one."""


class Cleaner:
    """Deletes rows first, and blobs once it is sure that nobody refers to them."""

    def __init__(
        self, database: Database, blobs: Blobs, grace_seconds: float = GRACE_SECONDS, input_days: float = 30.0
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._grace = grace_seconds
        self._input_seconds = input_days * 86_400
        self._listed_at = float("-inf")
        self._cleaned_at = float("-inf")

    @property
    def is_due(self) -> bool:
        """Whether there is something to do."""
        return time.monotonic() - self._cleaned_at >= EVERY_SECONDS

    def clean(self) -> None:
        """Do what is due; where there was more than fits into one transaction, the rest comes in the next call."""
        if not self.is_due:
            return
        tasks: list[Callable[[Session, int], int]] = [
            ledger.forget_jobs,
            ledger.forget_images,
            ledger.forget_prompts,
        ]
        done = 0
        for task in tasks:
            with self._database.write() as session:
                done = max(done, task(session, ROWS))
        done = max(done, self._delete_blobs())
        self._delete_old()
        if done < ROWS:
            self._cleaned_at = time.monotonic()

    def _delete_blobs(self) -> int:
        with self._database.write() as session:
            digests = ledger.collect_garbage(session, self._grace, ROWS)
        deleted = [digest for digest in digests if self._delete(digest)]
        spared = sorted(set(digests) - set(deleted))
        with self._database.write() as session:
            ledger.forget_garbage(session, deleted)
            ledger.spare_garbage(session, spared)
        if deleted:
            log.info("deleted pictures that nobody refers to", pictures=len(deleted))
        return len(digests)

    def _delete_old(self) -> None:
        """What no row speaks of, once an hour: listing a bucket is slow."""
        if time.monotonic() - self._listed_at < LISTED_EVERY_SECONDS:
            return
        self._listed_at = time.monotonic()
        for folder, seconds in ((HALF_MADE, HALF_MADE_SECONDS), (INPUTS, self._input_seconds)):
            try:
                deleted = self._blobs.drop_older(folder, seconds)
            except StorageFailed as error:
                log.warning("could not delete what is old", folder=folder, error=error.message)
                continue
            if deleted:
                log.info("deleted what is old", folder=folder, files=deleted)

    def _delete(self, digest: str) -> bool:
        try:
            return self._blobs.delete(digest, unless_written_within=self._grace)
        except StorageFailed:
            return False
