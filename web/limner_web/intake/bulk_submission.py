"""Submission of bulks: the jobs are stored as the body is read, and queued together once all of it is read."""

from __future__ import annotations

import time
from collections.abc import Iterator

from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from limner_shared.db import ledger
from limner_shared.db.engine import describe
from limner_shared.db.ledger import NewJob
from limner_shared.errors import BadBulk, BulkLoading, IdempotencyConflict
from limner_shared.telemetry import concerns, get_logger
from limner_web.intake.bulk_reader import BulkReader
from limner_web.services import Services

log = get_logger(__name__)

CHUNK = 1000
"""Jobs stored in one transaction. Transactions are short so that a large bulk does not hold up other requests."""
CHUNK_SECONDS = 2.0
"""The jobs of a slow sender are stored at this interval at the latest, which also shows that the bulk is alive."""
ABANDONED_SECONDS = 10.0
"""A bulk that has not grown for this long was cut off; sending the same request again replaces it."""
DROPPED_AT_ONCE = 2000
"""Jobs of a failed bulk that are deleted before the response; the dispatcher deletes the rest."""
LOADING = ""
"""The digest stored with a bulk's idempotency key until the whole body has been read."""


def submit_bulk(services: Services, tenant_id: str, reader: BulkReader, key: str | None) -> str:
    """Queue the jobs of a bulk, all or none, and return the bulk's id. Requests with the same `key` make one bulk.

    Raises BadBulk, BodyTooLarge, MalformedBody, TooManyRequests, IdempotencyConflict, or BulkLoading while an equal
    request is still being read.
    """
    earlier_digest, bulk_id = _open(services, tenant_id, key)
    concerns(bulk=bulk_id)
    if earlier_digest is not None:
        reader.skip()
        if earlier_digest != reader.digest:
            raise IdempotencyConflict
        return bulk_id
    try:
        _load(services, tenant_id, bulk_id, reader)
        with services.database.write() as session:
            if not ledger.seal_bulk(session, bulk_id, reader.accepted, reader.skipped):
                raise _dropped_meanwhile()
            if key is not None:
                ledger.store_idempotency_key(session, tenant_id, key, reader.digest, bulk_id, replace=True)
    except BaseException:
        _drop(services, bulk_id)
        raise
    services.hints.waiting()
    return bulk_id


def _open(services: Services, tenant_id: str, key: str | None) -> tuple[str | None, str]:
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
            bulk_id = ledger.open_bulk(session, tenant_id)
            if key is not None:
                ledger.store_idempotency_key(session, tenant_id, key, LOADING, bulk_id, replace=True)
            return None, bulk_id
    except IntegrityError as error:  # a concurrent request with the same key has stored it first
        raise BulkLoading from error


def _load(services: Services, tenant_id: str, bulk_id: str, reader: BulkReader) -> None:
    queued: int | None = None
    for chunk in _chunks(reader.jobs()):
        with services.database.write() as session:
            if not ledger.touch_bulk(session, bulk_id, reader.lines):
                raise _dropped_meanwhile()
            queued = ledger.reserve_quota(session, tenant_id, len(chunk), sum(job.cost for job in chunk), queued)
            ledger.submit(session, tenant_id, chunk, bulk_id=bulk_id)
        time.sleep(0)  # yields to the server's other greenlets


def _chunks(jobs: Iterator[NewJob]) -> Iterator[list[NewJob]]:
    chunk: list[NewJob] = []
    due = time.monotonic() + CHUNK_SECONDS
    for job in jobs:
        chunk.append(job)
        if len(chunk) == CHUNK or time.monotonic() > due:
            yield chunk
            chunk, due = [], time.monotonic() + CHUNK_SECONDS
    if chunk:
        yield chunk


def _drop(services: Services, bulk_id: str) -> None:
    """Delete a bulk that was not completed. If this fails, the dispatcher does it later: unsealed jobs never run."""
    try:
        with services.database.write() as session:
            ledger.drop_bulk(session, bulk_id)
        with services.database.write() as session:
            ledger.sweep_bulk(session, bulk_id, DROPPED_AT_ONCE)
    except SQLAlchemyError as error:
        log.warning("could not drop a bulk, left to the dispatcher", bulk=bulk_id, error=describe(error))


def _dropped_meanwhile() -> BadBulk:
    return BadBulk("The bulk was canceled or arrived too slowly, so nothing was queued. Send it again.")
