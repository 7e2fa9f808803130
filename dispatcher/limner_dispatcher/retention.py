"""Once a minute, a few rows at a time: delete what is past its retention, and complete jobs of earlier releases."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from limner_dispatcher.disk_reserve import DiskReserve
from limner_dispatcher.item_runner import ItemRunner
from limner_dispatcher.tenant_sweep import Task, TenantSweep
from limner_shared.db import batches, files, ledger
from limner_shared.db.accounts import keys
from limner_shared.db.engine import Database, describe, is_away, is_full
from limner_shared.db.webhooks import deliveries
from limner_shared.db.webhooks import log as webhook_log
from limner_shared.domain.durations import DAY_SECONDS
from limner_shared.errors import StorageFailed, StorageFull
from limner_shared.storage.blobs import CHECKPOINTS, FILES, INPUTS, RENDITIONS, Blobs, file_of
from limner_shared.storage_failures import counted
from limner_shared.telemetry import get_logger

log = get_logger(__name__)

EVERY_SECONDS: Final = 60.0
ROWS: Final = 500
LATE_SECONDS: Final = 3600.0
"""A webhook delivery is given up this long after its deadline, if its receiver is not tried at all."""
LISTED_EVERY_SECONDS: Final = 3600.0
CHECKPOINT_SECONDS: Final = DAY_SECONDS
"""A checkpoint of this age belongs to a job that has ended or will start again from the beginning."""
RENDITION_SECONDS: Final = 30 * DAY_SECONDS
"""A rendition of this age is deleted and made again when it is requested. A picture's deletion deletes its renditions,
but one may be stored at that very moment."""
UPLOAD_SECONDS: Final = 3600.0
"""An upload may take this long from its first part to its row."""
GRACE_SECONDS: Final = 600.0
"""A worker stores a picture before its row: an unreferenced blob may get its row within this time."""


class Retention:
    """Deletes rows first, and blobs once no row refers to them."""

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        grace_seconds: float = GRACE_SECONDS,
        input_retention_days: float = 30.0,
        webhook_log_days: float = 30.0,
        runner: ItemRunner | None = None,
    ) -> None:
        """Each task is an item of `runner`, which records those that fail; by default of one that only logs them."""
        self._database = database
        self._runner = runner or ItemRunner(is_away)
        self._tenants = TenantSweep(database, self._runner)
        self.reserve = DiskReserve(database)
        self._has_new_room = False
        self.has_more = False
        """Whether the last pass left rows that are due."""
        self._unfinished: set[str] = set()
        """The tasks that filled their transaction in the last pass."""
        self._whole_at = float("-inf")
        self._blobs = blobs
        self._grace = grace_seconds
        self._input_seconds = input_retention_days * DAY_SECONDS
        self._log_seconds = webhook_log_days * DAY_SECONDS
        self._listed_at = float("-inf")
        self._ran_at = float("-inf")

    @property
    def is_due(self) -> bool:
        """Whether a pass is due."""
        return time.monotonic() - self._ran_at >= EVERY_SECONDS

    def run(self) -> None:
        """Run all tasks, if due. Of those that filled their transaction, or if one got space from the reserve, the next
        call continues at once. Raises the errors of an unavailable database.
        """
        if not self.is_due:
            return
        self.has_more = False  # also after a pass that fails
        tasks = self._tasks()
        # A backlog of one kind must not cost the queries of all others in each pass, nor delay them for long.
        is_whole = not self._unfinished or time.monotonic() - self._whole_at >= EVERY_SECONDS
        if is_whole:
            self._whole_at = time.monotonic()
        self._has_new_room = False
        handled = {name: self._done(name, task) for name, task in tasks.items() if is_whole or name in self._unfinished}
        self._unfinished = {name for name, rows in handled.items() if rows >= ROWS}
        self.has_more = bool(self._unfinished) or self._has_new_room or not is_whole
        if not self.has_more:
            self._ran_at = time.monotonic()
            self.reserve.keep()

    def _tasks(self) -> dict[str, Callable[[], int]]:
        """The tasks by name; each returns the number of rows that it handled."""
        return {
            "jobs": lambda: self._of_tenants("jobs", ledger.forget_jobs),
            "images": lambda: self._of_tenants("images", ledger.forget_images),
            "prompts": lambda: self._of_tenants("prompts", ledger.forget_prompts),
            "histories": lambda: self._run(ledger.forget_histories),
            "jobs of earlier releases": lambda: self._run(ledger.complete_legacy_jobs),
            "words": self._purge_words,
            "usage": self._forget_usage,
            "expired keys": lambda: self._run(keys.record_expired),
            "late deliveries": lambda: self._run(partial(deliveries.give_up, seconds=LATE_SECONDS)),
            "webhook log": lambda: self._run(partial(webhook_log.prune, seconds=self._log_seconds)),
            "pictures": self._delete_blobs,
            "inputs": self._delete_inputs,
            "files": lambda: self._run(files.expire_files),
            "batches": lambda: self._run(partial(batches.forget_batches, seconds=self._input_seconds)),
            "old objects": self._delete_old,
        }

    def _of_tenants(self, name: str, task: Task) -> int:
        return self._tenants.run(f"retention: {name} of a tenant", task, ROWS)

    def _run(self, task: Callable[[Session, int], int]) -> int:
        with self._database.write() as session:
            return task(session, ROWS)

    def _purge_words(self) -> int:
        with self._database.write() as session:
            return ROWS if ledger.purge_words(session) else 0

    def _forget_usage(self) -> int:
        with self._database.write() as session:
            ledger.forget_usage(session)
        return 0

    def _delete_blobs(self) -> int:
        with self._database.write() as session:
            digests = ledger.collect_garbage(session, self._grace, ROWS)
        deleted = self._deleted(self._blobs.set_aside, digests)
        spared = sorted(set(digests) - set(deleted))
        with self._database.write() as session:
            ledger.unmark_garbage(session, deleted)
            ledger.schedule_blob_deletion(session, spared)
        if deleted:
            log.info("deleted pictures that no row refers to", pictures=len(deleted))
        return len(digests)

    def _delete_inputs(self) -> int:
        with self._database.write() as session:
            digests = [] if ledger.has_legacy_jobs(session) else ledger.inputs_given_up(session, ROWS)
        deleted = self._deleted(self._blobs.set_aside_input, digests)
        spared = sorted(set(digests) - set(deleted))
        with self._database.write() as session:
            ledger.unmark_inputs(session, deleted)
            ledger.postpone_inputs(session, spared)
        if deleted:
            log.info("deleted inputs that no job starts from any more", inputs=len(deleted))
        return len(deleted)

    def _delete_old(self) -> int:
        """Delete objects that have no rows, by age: checkpoints, renditions, inputs without a job. Hourly, because
        listing is slow.
        """
        if time.monotonic() - self._listed_at < LISTED_EVERY_SECONDS:
            return 0
        self._listed_at = time.monotonic()
        self._drop_older(CHECKPOINTS, CHECKPOINT_SECONDS, lambda _names: ())
        self._drop_older(RENDITIONS, RENDITION_SECONDS, lambda _names: ())
        # A request stores its pictures before its job, and may then be refused.
        self._drop_older(INPUTS, max(self._grace, UPLOAD_SECONDS), self._inputs_in_use)
        self._drop_older(FILES, max(self._grace, UPLOAD_SECONDS), self._parts_in_use)
        return 0

    def _drop_older(self, folder: str, seconds: float, in_use: Callable[[Sequence[str]], Collection[str]]) -> None:
        try:
            deleted, failures = self._blobs.drop_older(folder, seconds, in_use)
        except (StorageFailed, StorageFull) as error:
            log.warning("could not delete what is old", folder=folder, error=error.message)
            return
        if deleted:
            log.info("deleted what is old", folder=folder, files=deleted)
        if failures:
            log.warning("could not delete some of what is old", folder=folder, reasons=dict(failures))

    def _inputs_in_use(self, digests: Sequence[str]) -> Collection[str]:
        with self._database.read() as session:
            return digests if ledger.has_legacy_jobs(session) else ledger.inputs_in_use(session, digests)

    def _parts_in_use(self, parts: Sequence[str]) -> set[str]:
        with self._database.read() as session:
            known = files.known_files(session, sorted({file_of(part) for part in parts}))
        return {part for part in parts if file_of(part) in known}

    def _deleted(self, delete: Callable[[str, float], bool], digests: Sequence[str]) -> list[str]:
        """Delete blobs; returns those that are deleted. The others were written lately, or the store fails."""
        deleted: list[str] = []
        failures = Counter[str]()
        for digest in digests:
            with counted(failures):
                if delete(digest, self._grace):
                    deleted.append(digest)
        if failures:
            log.warning("could not delete pictures", reasons=dict(failures))
        return deleted

    def _done(self, name: str, task: Callable[[], int]) -> int:
        """The number of rows that a task handled; 0 for one that fails, which is set aside and does not stop the
        others. Raises the errors of an unavailable database.
        """
        handled = 0

        def handle() -> None:
            nonlocal handled
            try:
                handled = task()
            except OSError as error:
                raise StorageFailed(describe(error)) from error  # the other tasks may need no file
            except DBAPIError as error:
                if self.reserve.release_for(error):
                    self._has_new_room = True
                elif is_full(error):
                    raise StorageFull(describe(error)) from error  # the other tasks may free some of it
                else:
                    raise

        self._runner.run(f"retention: {name}", handle)
        return handled
