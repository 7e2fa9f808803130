"""Carries batches from state to state: reads their files, and finishes them once their jobs have ended.

Each web process has two threads for this. A batch belongs to the process that claimed it while that renews its lease; a
batch of a process that was killed is taken over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

from sqlalchemy.orm import Session

from limner_shared.db import batches, files, ledger
from limner_shared.db.batch_tables import Batch
from limner_shared.db.engine import DATABASE_AWAY, describe
from limner_shared.db.ledger import NewJob
from limner_shared.domain.batches import BatchState
from limner_shared.domain.durations import DAY_SECONDS
from limner_shared.errors import BadBulk, InvalidRequest, LeaseLost, LimnerError, NotFound, TooManyRequests
from limner_shared.telemetry import get_logger
from limner_web.intake import uploads
from limner_web.intake.bulk_submission import BulkDropped, load_bulk
from limner_web.limits import MAX_BULK_ERRORS
from limner_web.openai import batch_output
from limner_web.openai.batch_reader import BatchReader, body_of
from limner_web.services import Services

log = get_logger(__name__)

UNIT_SECONDS: Final = 600.0
"""The limit of one unit of a thread's work: a line with several pictures, while the picture store responds late."""
POLL_SECONDS: Final = 1.0
LEASE_SECONDS: Final = 90.0
"""A batch whose process was killed is taken over after this time: longer than a line with pictures takes while the
picture store does not respond, which is 35 s for each call of it."""
RENEW_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 3.0
"""A batch that failed for a reason that passes is tried again after this time."""
LONGEST_PAUSE_SECONDS: Final = 600.0
GIVE_UP_SECONDS: Final = DAY_SECONDS
"""A batch whose output could not be made for so long ends as failed; its jobs keep their pictures."""

UNEXPECTED: Final = "An internal error occurred. The service's log has the details under this batch's id."


class BatchLoader:
    """The batches' part of a web process."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def start(self) -> None:
        """Start the threads. To be called in the process that serves, after a fork."""
        for name, step in (("batch files", self.load_next), ("batch outputs", self.finish_next)):
            self._services.supervisor.start(name, partial(self._run, step), limit_seconds=UNIT_SECONDS)

    def load_next(self) -> bool:
        """Read the file of one batch and queue its jobs; False if there is none to read."""
        claimed = self._claim(BatchState.VALIDATING)
        if claimed is not None:
            self._load(claimed)
        return claimed is not None

    def finish_next(self) -> bool:
        """Close the batches that are due, and finish one; False if there is none to finish."""
        self._close_due()
        claimed = self._claim(BatchState.FINALIZING)
        if claimed is not None:
            self._finish(claimed)
        return claimed is not None

    def _run(self, step: Callable[[], bool]) -> None:
        while True:
            busy = False
            self._services.supervisor.working()
            try:
                busy = step()
            except DATABASE_AWAY as error:
                log.warning("batches wait for the database", error=describe(error))
            except Exception as error:
                log.exception("batches failed, trying again later", exc_info=error)
            if not busy:
                self._services.supervisor.idle()
                time.sleep(POLL_SECONDS)

    def _claim(self, state: BatchState) -> Batch | None:
        with self._services.database.read() as session:
            if not batches.has_work(session):
                return None
        with self._services.database.write() as session:
            return batches.claim(session, state, LEASE_SECONDS)

    # --- validating ---

    def _load(self, claimed: Batch) -> None:
        """Queue the jobs of a batch, all or none."""
        lease = _Lease(self._services, claimed)
        reader: BatchReader | None = None
        try:
            with self._services.database.read() as session:
                row = files.file(session, claimed.tenant_id, claimed.input_file_id)
            body = body_of(uploads.read_file(self._services, row, lease.keep))
            reader = BatchReader(self._services, claimed.tenant_id, claimed.endpoint, body, lease.keep)
            with self._services.database.write() as session:
                bulk_id = ledger.open_bulk(session, claimed.tenant_id)
            load_bulk(
                self._services,
                claimed.tenant_id,
                bulk_id,
                reader,
                with_jobs=partial(_store_lines, bulk_id, reader),
                with_seal=partial(batches.begin, claimed=claimed, bulk_id=bulk_id),
            )
        except (LeaseLost, BulkDropped) as error:
            log.info("a batch was not queued", batch=claimed.id, error=error.message)
            self._try_later(claimed)
        except LimnerError as error:
            if error.retryable and not isinstance(error, TooManyRequests):
                log.warning("a batch cannot be read now", batch=claimed.id, error=error.message)
                self._try_later(claimed)
            else:
                self._fail(claimed, reader.lines if reader else 0, error)
        except DATABASE_AWAY:
            self._try_later(claimed)
            raise
        except Exception as error:  # the same file would fail again
            log.exception("a batch failed", batch=claimed.id, exc_info=error)
            self._fail(claimed, reader.lines if reader else 0, LimnerError(UNEXPECTED))

    def _fail(self, claimed: Batch, total: int, error: LimnerError) -> None:
        with self._services.database.write() as session:
            batches.fail(session, claimed, total, _errors(error))
        self._services.hints.deliveries_wait()

    def _try_later(self, claimed: Batch, seconds: float = RETRY_SECONDS) -> None:
        """Let any process try again after `seconds`, or, if the lease cannot be changed, once it has ended."""
        with suppress(LeaseLost, *DATABASE_AWAY), self._services.database.write() as session:
            batches.renew(session, claimed, seconds)

    # --- finalizing ---

    def _close_due(self) -> None:
        with self._services.database.read() as session:
            due = batches.closing(session)
        for row, outcome in due:
            self._services.supervisor.working()
            try:
                with self._services.database.write() as session:
                    batches.close(session, row, outcome)
            except DATABASE_AWAY:
                raise
            except Exception as error:
                log.exception("a batch cannot be closed", batch=row.id, exc_info=error)
        if due:
            self._services.hints.deliveries_wait()

    def _finish(self, claimed: Batch) -> None:
        try:
            output = batch_output.measure(self._services, claimed, _Lease(self._services, claimed).keep)
        except LimnerError as error:
            self._finish_later(claimed, error)
            return
        except DATABASE_AWAY:
            self._try_later(claimed)
            raise
        except Exception as error:  # the same output would fail again
            log.exception("a batch failed", batch=claimed.id, exc_info=error)
            self._fail(claimed, claimed.total, LimnerError(UNEXPECTED))
            return
        with self._services.database.write() as session:
            batches.finish(session, claimed, output)
        self._services.hints.deliveries_wait()

    def _finish_later(self, claimed: Batch, error: LimnerError) -> None:
        """Let any process try again; each pause is a tenth of the time that the batch has waited for its output."""
        claimed_at = (claimed.lease_until or 0.0) - LEASE_SECONDS  # by the database's clock
        waited = claimed_at - (claimed.finalizing_at or 0.0)
        if waited > GIVE_UP_SECONDS:
            log.error("a batch's output cannot be made", batch=claimed.id, error=error.message)
            self._fail(claimed, claimed.total, error)
        else:
            log.warning("a batch's output cannot be measured now", batch=claimed.id, error=error.message)
            self._try_later(claimed, min(max(RETRY_SECONDS, waited / 10), LONGEST_PAUSE_SECONDS))


class _Lease:
    """Renews the lease of a claimed batch."""

    def __init__(self, services: Services, claimed: Batch) -> None:
        self._services = services
        self._claimed = claimed
        self._renewed_at = time.monotonic()

    def keep(self) -> None:
        """Note the progress, and renew the lease if that is due. Raises LeaseLost."""
        self._services.supervisor.working()
        if time.monotonic() - self._renewed_at < RENEW_SECONDS:
            return
        with self._services.database.write() as session:
            batches.renew(session, self._claimed, LEASE_SECONDS)
        self._renewed_at = time.monotonic()


def _store_lines(bulk_id: str, reader: BatchReader, session: Session, jobs: Sequence[NewJob]) -> None:
    """Store what the lines of these jobs say beside them. Raises BadBulk for a `custom_id` that comes twice."""
    lines = reader.take(jobs)
    known = batches.known_custom_ids(session, bulk_id, [line.custom_id for line in lines])
    bad: list[dict[str, Any]] = []
    for line in lines:
        first = known.setdefault(line.custom_id, line.line)
        if first != line.line:
            message = f"custom_id: line {first} has the same; give each line its own."
            bad.append({"line": line.line, "field": "custom_id", "message": message})
    if bad:
        raise BadBulk("A custom_id comes twice, so nothing was queued.", errors=bad[:MAX_BULK_ERRORS])
    batches.add_lines(session, bulk_id, lines)


def _errors(error: LimnerError) -> list[Mapping[str, Any]]:
    """The errors of a file in OpenAI's form: one for each bad line that is described, or one for the whole file."""
    found: list[dict[str, Any]] = error.details.get("errors") or [] if isinstance(error, BadBulk) else []
    if not found:
        param = "input_file_id" if isinstance(error, NotFound) else error.details.get("field")
        return [{"code": error.code, "line": None, "message": error.message, "param": param}]
    return [
        {"code": InvalidRequest.code, "line": each["line"], "message": each["message"], "param": each["field"]}
        for each in found
    ]
