"""Submission of bulks: the jobs are stored as the body is read, and queued together once all of it is read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from limner_shared import tracing
from limner_shared.db import ledger
from limner_shared.db.engine import describe
from limner_shared.db.ledger import EarlierResult, NewJob
from limner_shared.errors import BadBulk, BulkLoading, IdempotencyConflict
from limner_shared.telemetry import bind_log_ids, get_logger
from limner_web.intake.bulk_reader import BulkReader
from limner_web.intake.headers import JobHeaders
from limner_web.intake.idempotency import find_result, repeat_of, store_result
from limner_web.limits import MAX_BULK_ERRORS
from limner_web.services import Services

log = get_logger(__name__)

READ_AT_ONCE: Final = 100
"""Lines that are checked before other requests have a turn."""
CHUNK: Final = 500
"""Jobs stored in one transaction. Transactions are short so that a large bulk does not hold up other requests."""
CHUNK_SECONDS: Final = 2.0
"""The jobs of a slow sender are stored at this interval at the latest, which also shows that the bulk is alive."""
ABANDONED_SECONDS: Final = 10.0
"""A bulk that has not grown for this long was cut off; sending the same request again replaces it."""
DROPPED_AT_ONCE: Final = 2000
"""Jobs of a failed bulk that are deleted before the response; the dispatcher deletes the rest."""
LOADING: Final = ""
"""The digest stored with a bulk's idempotency key until the whole body has been read."""


class BulkDropped(BadBulk):
    """The bulk was canceled or arrived too slowly, so nothing was queued. Send it again."""


class _Repeated(Exception):
    """A counted retry of a bulk that is stored already, which is known only once all of it has been read."""

    def __init__(self, bulk_id: str) -> None:
        super().__init__(bulk_id)
        self.bulk_id = bulk_id


def submit_bulk(
    services: Services,
    tenant_id: str,
    reader: BulkReader,
    header: JobHeaders,
    webhook: dict[str, Any] | None = None,
) -> str:
    """Queue the jobs of a bulk, all or none, and return the bulk's id. Repeated requests make one bulk.

    `webhook` is what `webhooks.bulk_webhook` returns.

    Raises BadBulk, BodyTooLarge, MalformedBody, TooManyRequests, IdempotencyConflict, BulkLoading while an equal
    request is still being read, or UniqueKeyLoading while a bulk with one of its unique keys is.
    """
    key = header.idempotency_key
    earlier_digest, bulk_id = _open(services, tenant_id, key, webhook)
    bind_log_ids(bulk=bulk_id)
    tracing.annotate({tracing.BULK_ID: bulk_id})
    if earlier_digest is not None:
        reader.skip()
        if earlier_digest != reader.digest:
            raise IdempotencyConflict
        return bulk_id

    def keep_key(session: Session) -> None:
        if key is not None:
            ledger.store_idempotency_key(session, tenant_id, key, reader.digest, EarlierResult(bulk_id), replace=True)
            return
        repeat = repeat_of(header, f"bulks {webhook} {reader.skipped} {reader.digest}")
        known = find_result(session, tenant_id, repeat)
        if known is not None:
            raise _Repeated(known.resource_id)
        store_result(session, tenant_id, repeat, EarlierResult(bulk_id))

    try:
        load_bulk(services, tenant_id, bulk_id, reader, with_seal=keep_key)
    except _Repeated as repeated:
        return repeated.bulk_id
    return bulk_id


def load_bulk(
    services: Services,
    tenant_id: str,
    bulk_id: str,
    reader: BulkReader,
    *,
    with_jobs: Callable[[Session, Sequence[NewJob]], None] = lambda _session, _jobs: None,
    with_seal: Callable[[Session], None] = lambda _session: None,
) -> None:
    """Queue the jobs of a bulk that was just opened, all or none. `with_jobs` is called in each transaction that stores
    jobs, `with_seal` in the one that completes the bulk; what they raise drops it.

    Raises what `submit_bulk` does, and BulkDropped.
    """
    try:
        duplicates = _load(services, tenant_id, bulk_id, reader, with_jobs)
        with services.database.write() as session:
            total = reader.accepted - duplicates.count
            if not ledger.seal_bulk(session, bulk_id, total, reader.skipped, duplicates.stored):
                raise BulkDropped
            services.wakeups.in_commit(session)
            with_seal(session)
    except BaseException:
        _drop(services, bulk_id)
        raise
    services.wakeups.after_commit()


def _open(
    services: Services, tenant_id: str, key: str | None, webhook: dict[str, Any] | None
) -> tuple[str | None, str]:
    """The digest and id of the bulk that this key has made, or None and the id of a new bulk. Raises BulkLoading."""
    try:
        with services.database.write() as session:
            known = None if key is None else ledger.read_idempotency_key(session, tenant_id, key)
            if known is not None and known[1] != LOADING:
                return known[1], known[0]
            if known is not None:
                if known[0] not in ledger.stale_bulks(session, ABANDONED_SECONDS):
                    raise BulkLoading
                ledger.drop_bulk(session, known[0])
            bulk_id = ledger.open_bulk(session, tenant_id, webhook)
            if key is not None:
                ledger.store_idempotency_key(session, tenant_id, key, LOADING, EarlierResult(bulk_id), replace=True)
            return None, bulk_id
    except IntegrityError as error:  # a concurrent request with the same key has stored it first
        raise BulkLoading from error


@dataclass(slots=True)
class Duplicates:
    """The lines whose unique keys other jobs hold; the first of them in detail."""

    count: int = 0
    lines: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @property
    def stored(self) -> dict[str, Any] | None:
        """As `views.DuplicatesView`; None if there are none."""
        return asdict(self) if self.count else None

    def add(self, lines: Sequence[tuple[int | None, str]]) -> None:
        """Add lines, each with the job that holds its key."""
        self.count += len(lines)
        self.lines += [{"line": line, "job": job} for line, job in lines[: MAX_BULK_ERRORS - len(self.lines)]]


def _load(
    services: Services,
    tenant_id: str,
    bulk_id: str,
    reader: BulkReader,
    with_jobs: Callable[[Session, Sequence[NewJob]], None],
) -> Duplicates:
    reserved: ledger.Reserved | None = None
    duplicates = Duplicates()
    for chunk in _chunks(reader.jobs()):
        with services.database.write() as session:
            if not ledger.touch_bulk(session, bulk_id):
                raise BulkDropped
            if not chunk:
                continue
            holders = ledger.hold_unique_keys(session, tenant_id, chunk, bulk_id)
            new = [_traced(bulk_id, job) for place, job in enumerate(chunk) if place not in holders]
            reserved = ledger.reserve_quota(session, tenant_id, len(new), sum(job.cost for job in new), reserved)
            if new:
                ledger.submit(session, tenant_id, new, bulk_id=bulk_id)
                ledger.touch_bulk(session, bulk_id, len(new))
            with_jobs(session, new)
        duplicates.add([(chunk[place].bulk_line, job_id) for place, job_id in holders.items()])
        time.sleep(0)  # yields to the server's other greenlets
    return duplicates


def _chunks(jobs: Iterator[NewJob | None]) -> Iterator[list[NewJob]]:
    """The jobs in chunks, of which one is empty if no line has made a job for CHUNK_SECONDS."""
    chunk: list[NewJob] = []
    due = time.monotonic() + CHUNK_SECONDS
    for job in jobs:
        if job is not None:
            chunk.append(job)
        if len(chunk) % READ_AT_ONCE == 0:
            time.sleep(0)  # yields to the server's other greenlets
        if len(chunk) == CHUNK or time.monotonic() > due:
            yield chunk
            chunk, due = [], time.monotonic() + CHUNK_SECONDS
    if chunk:
        yield chunk


def _traced(bulk_id: str, job: NewJob) -> NewJob:
    """The job, with a trace of its own if it is in one of the lines 1, 2, 4, 8, …: so a large bulk has traces from its
    begin to its end, but not a million. Each links to the trace of the bulk's request.
    """
    line = job.bulk_line or 0
    if not tracing.enabled() or line < 1 or line & (line - 1):
        return job
    attributes = {tracing.BULK_ID: bulk_id, "limner.bulk.line": line, tracing.MODEL: job.spec.model}
    span = tracing.start_linked("bulk line", tracing.current(), attributes)
    if span is None:
        return job
    span.end()
    return replace(job, traceparent=span.traceparent)


def _drop(services: Services, bulk_id: str) -> None:
    """Delete a bulk that was not completed. If this fails, the dispatcher does it later: unsealed jobs never run."""
    try:
        with services.database.write() as session:
            ledger.drop_bulk(session, bulk_id)
        with services.database.write() as session:
            ledger.sweep_bulk(session, bulk_id, DROPPED_AT_ONCE)
    except SQLAlchemyError as error:
        log.warning("could not drop a bulk, left to the dispatcher", bulk=bulk_id, error=describe(error))
