"""From a request to the queue: the one way in, for single jobs and bulks, whatever API they came by."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from itertools import islice

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from limner_shared import ledger
from limner_shared.celery_app import publish
from limner_shared.jobs import JobRequest, Priority
from limner_shared.ledger import Change, NewJob, Released, Submission
from limner_shared.telemetry import get_logger
from limner_web.services import Services

log = get_logger(__name__)

CHUNK = 500
"""Rows a transaction: short ones, so that nobody waits for a large bulk to be written."""


def submit(services: Services, tenant_id: str, request: JobRequest, key: str | None) -> str:
    """Queue one job and return its id; an idempotency key makes one job only. Raises InvalidRequest."""
    card, spec = services.catalogue.resolve(request)
    new = NewJob(spec, card.cost(spec), request.priority or Priority.NORMAL, request.metadata)
    digest = hashlib.sha256(request.model_dump_json().encode()).hexdigest()
    submissions: list[Submission] = []

    def make(session: Session) -> str:
        submissions.append(ledger.submit(session, tenant_id, [new], window=services.settings.window))
        return submissions[-1].changes[0].id

    job_id, is_new = _once(services, tenant_id, key, digest, make)
    if is_new:
        announce(services, submissions[-1].changes, submissions[-1].released)
    return job_id


def submit_bulk(
    services: Services, tenant_id: str, jobs: Iterator[NewJob], total: int, key: str | None, digest: str
) -> str:
    """Queue the jobs of a checked bulk, all or none, and return its id; with a key, as for a single job."""
    bulk_id, is_new = _once(services, tenant_id, key, digest, lambda session: ledger.open_bulk(session, tenant_id))
    if not is_new:
        return bulk_id
    try:
        _load(services, tenant_id, bulk_id, jobs, total)
    except BaseException:
        # Were this to fail too, the dispatcher would drop the bulk later: unsealed, none of it ever runs.
        with services.database.write() as session:
            ledger.drop_bulk(session, bulk_id)
        raise
    return bulk_id


def _once(
    services: Services, tenant_id: str, key: str | None, digest: str, make: Callable[[Session], str]
) -> tuple[str, bool]:
    """What `make` makes, or what an earlier request of the same key has made; and whether it is new."""
    try:
        with services.database.write() as session:
            if key is not None and (known := ledger.recall(session, tenant_id, key, digest)) is not None:
                return known, False
            made = make(session)
            if key is not None:
                ledger.remember(session, tenant_id, key, digest, made)
            return made, True
    except IntegrityError:  # the same request came twice at once, and the other one was faster
        with services.database.read() as session:
            known = ledger.recall(session, tenant_id, key, digest) if key is not None else None
        if known is None:
            raise
        return known, False


def _load(services: Services, tenant_id: str, bulk_id: str, jobs: Iterator[NewJob], total: int) -> None:
    while chunk := list(islice(jobs, CHUNK)):
        with services.database.write() as session:
            for model in {job.spec.model for job in chunk}:
                of_model = [job for job in chunk if job.spec.model == model]
                ledger.submit(session, tenant_id, of_model, bulk_id=bulk_id)
            ledger.touch_bulk(session, bulk_id)
        time.sleep(0)  # the server's other requests have a turn
    with services.database.write() as session:
        ledger.seal_bulk(session, bulk_id, total)


def announce(services: Services, changes: list[Change], released: list[Released]) -> None:
    """After the commit: publish what was released, and tell. Redis may be away; then the dispatcher makes up for it."""
    if released:
        try:
            publish(services.celery, changes[0].model, released)
        except Exception as error:  # noqa: BLE001 - kombu raises what its transport raises; the job is safe already
            log.warning("could not publish, left to the dispatcher", jobs=len(released), error=repr(error)[:200])
    services.hints.changed(changes)
