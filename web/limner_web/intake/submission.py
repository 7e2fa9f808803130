"""From a request to the queue: the one way in, for single jobs and bulks, whatever API they came by."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from limner_shared.db import ledger, queries
from limner_shared.db.engine import describe
from limner_shared.db.ledger import Change, NewJob, Released, Submission
from limner_shared.db.tables import Image, Job
from limner_shared.domain.conditions import Turn
from limner_shared.domain.jobs import JobRequest, JobSpec, Priority
from limner_shared.domain.replay import REPLAY_OF, replay_spec
from limner_shared.errors import BadBulk, BulkLoading, Gone, IdempotencyConflict, InvalidState, NotFound
from limner_shared.messaging.celery_app import publish
from limner_shared.telemetry import get_logger
from limner_web.intake.bulk_reader import BulkReader
from limner_web.services import Services

log = get_logger(__name__)

CHUNK = 1000
"""Rows a transaction: short ones, so that nobody waits for a large bulk to be written."""
DROPPED_AT_ONCE = 2000
"""Rows of a bulk that was not completed which are deleted before the answer; the dispatcher deletes the others."""
CHUNK_SECONDS = 2.0
"""A slow sender's lines are written this often, so that the bulk is seen to be alive."""
ABANDONED_SECONDS = 10.0
"""A bulk that has not grown for so long was cut off: the same request again starts anew."""
HASHED_APART_CHARS = 64_000
RETRY_SECONDS = 120.0
"""A client that says it retries, without a key, means what it asked for so recently."""
OVERTAKEN_SECONDS = 5.0
"""So much later than its retry may a first try arrive; then it is another request of the same words."""
LOADING = ""
"""The digest of a bulk's key until its body is read to the end."""


@dataclass(frozen=True, slots=True)
class ConversationContext:
    """What a job is part of: what was said before, where, and what else is to be written with it."""

    place: str
    """As the client named it: the same request in the same place is known again, whatever has happened since."""
    history: tuple[Turn, ...]
    note: Callable[[Session, str], None]
    """Writes more in the transaction that makes the job, whose id it is given."""
    model: str | None = None
    """The model where the request names none."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """By what a request is known when it comes again: a key, or that its client counts its tries (0 is the first)."""

    key: str | None
    count: int | None
    digest: str

    @property
    def name(self) -> str | None:
        """Under which a request is noted; None if it cannot come again. No client can send such a key as the second."""
        if self.key is not None:
            return self.key
        return None if self.count is None else f"\x01retry {self.digest}"

    @property
    def overtaken(self) -> str:
        """Under which a retry is noted whose first try has not arrived yet."""
        return f"\x01early {self.digest}"


def submit(
    services: Services,
    tenant_id: str,
    request: JobRequest,
    key: str | None,
    retry_count: int | None = None,
    within: ConversationContext | None = None,
) -> str:
    """Queue one job and return its id. Raises InvalidRequest, TooManyRequests, IdempotencyConflict or Gone.

    An idempotency key makes one job only. Without one, a client that counts its retries (`retry_count`, 0 for the
    first try) gets the job of its first try.
    """
    place = within.place if within is not None else ""
    digest = _digest(services, place, request)
    if within is not None and request.model is None:
        request = request.model_copy(update={"model": within.model})
    card, spec = services.catalogue.resolve(request)
    spec = services.inputs.store(tenant_id, spec)
    if within is not None:
        spec = spec.model_copy(update={"history": within.history})
    cost = card.cost(spec)
    small = cost <= card.small_cost
    priority = request.priority or Priority.NORMAL
    new = NewJob(spec, cost, priority, request.metadata, expires_in=request.expires_in, small=small)

    def make(session: Session) -> Submission:
        ledger.reserve_quota(session, tenant_id, 1, cost)
        submission = ledger.submit(session, tenant_id, [new], window=services.settings.release_window)
        if within is not None:
            within.note(session, submission.changes[0].id)
        return submission

    made = _once(services, tenant_id, Repeat(key, retry_count, digest), make)
    if isinstance(made, str):
        return made
    announce(services, made.changes, made.released)
    return made.changes[0].id


def _digest(services: Services, place: str, request: JobRequest) -> str:
    """What tells equal requests: SHA-256 in hex. Pictures of many megabytes are hashed off the event loop."""
    pictures = {"image": request.image, "mask": request.mask}
    large = {name: value for name, value in pictures.items() if value is not None and len(value) > HASHED_APART_CHARS}
    hashes = {name: services.storage.call(_sha256, value) for name, value in large.items()}
    return _sha256(f"{place}{request.model_copy(update=hashes).model_dump_json()}")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def replay(services: Services, tenant_id: str, job_id: str) -> str:
    """Queue a job that makes the same bytes as an earlier one, and return its id.

    Raises NotFound, InvalidState if it has no pictures any more, or TooManyRequests.
    """
    with services.database.write() as session:
        row = queries.job(session, tenant_id, job_id)
        images = queries.images(session, [job_id])[job_id]
        services.catalogue.get(row.model)
        again = _replay_spec(row, images)
        ledger.reserve_quota(session, tenant_id, 1, row.cost)
        new = NewJob(again, row.cost, Priority.NORMAL, {REPLAY_OF: job_id})
        submission = ledger.submit(session, tenant_id, [new], window=services.settings.release_window)
    announce(services, submission.changes, submission.released)
    return submission.changes[0].id


def _replay_spec(row: Job, images: list[Image]) -> JobSpec:
    """Raises InvalidState if not all is there that made the images."""
    spec = JobSpec.read(row.spec)
    if spec is None:
        raise InvalidState("The job's stored request is damaged, so it cannot be replayed.", state=row.state)
    if not spec.prompt:
        raise InvalidState("The job's prompt was deleted as its tenant's retention asks.", state=row.state)
    if len(images) < spec.n:
        raise InvalidState("Only a job whose pictures are all there can be replayed.", state=row.state)
    return replay_spec(spec, [image.receipt for image in images])


def _once(
    services: Services, tenant_id: str, repeat: Repeat, make: Callable[[Session], Submission], *, again: bool = False
) -> Submission | str:
    """What `make` makes, or the id of the job that the same request has made before.

    Equal requests wait for one another, so that of those that come at once, too, each sees what those before it made.
    """
    try:
        with services.database.write() as session:
            if repeat.name is None:
                return make(session)
            ledger.lock_key(session, tenant_id, repeat.name)
            known = _recall(session, tenant_id, repeat)
            if known is not None:
                return _still_there(session, tenant_id, known)
            made = make(session)
            _remember(session, tenant_id, repeat, made.changes[0].id)
            return made
    except IntegrityError:
        # What it depends on was deleted meanwhile, or a process of an earlier release, which takes no lock, has noted
        # the same key: a second look sees either.
        if again:
            raise
        return _once(services, tenant_id, repeat, make, again=True)


def _recall(session: Session, tenant_id: str, repeat: Repeat) -> str | None:
    if repeat.key is not None:
        return ledger.find_idempotency_key(session, tenant_id, repeat.key, repeat.digest)
    if repeat.count:
        return ledger.find_idempotency_key(session, tenant_id, repeat.name or "", repeat.digest, RETRY_SECONDS)
    # A first try is a new request, unless its own retry has overtaken it.
    known = ledger.find_idempotency_key(session, tenant_id, repeat.overtaken, repeat.digest, OVERTAKEN_SECONDS)
    if known is not None:
        ledger.delete_idempotency_key(session, tenant_id, repeat.overtaken)
    return known


def _remember(session: Session, tenant_id: str, repeat: Repeat, job_id: str) -> None:
    counted = repeat.key is None
    ledger.store_idempotency_key(session, tenant_id, repeat.name or "", repeat.digest, job_id, replace=counted)
    if counted and repeat.count:
        ledger.store_idempotency_key(session, tenant_id, repeat.overtaken, repeat.digest, job_id, replace=True)


def _still_there(session: Session, tenant_id: str, job_id: str) -> str:
    try:
        return queries.job(session, tenant_id, job_id).id
    except NotFound as error:
        raise Gone from error


# --- bulks ----------------------------------------------------------------------------------------------------------


def submit_bulk(services: Services, tenant_id: str, reader: BulkReader, key: str | None) -> str:
    """Queue the jobs of a bulk as it is read, all or none, and return its id; with a key, once however often sent.

    Raises BadBulk, BodyTooLarge, MalformedBody, TooManyRequests, IdempotencyConflict, or BulkLoading while it is being
    read already.
    """
    earlier, bulk_id = _open(services, tenant_id, key)
    if earlier is not None:
        reader.skip()
        if earlier != reader.digest:
            raise IdempotencyConflict
        return bulk_id
    try:
        _load(services, tenant_id, bulk_id, reader)
        with services.database.write() as session:
            if not ledger.seal_bulk(session, bulk_id, reader.accepted, reader.skipped):
                raise _given_up()
            if key is not None:
                ledger.store_idempotency_key(session, tenant_id, key, reader.digest, bulk_id, replace=True)
    except BaseException:
        _drop(services, bulk_id)
        raise
    services.hints.waiting()
    return bulk_id


def _drop(services: Services, bulk_id: str) -> None:
    """Forget what was loaded. Should this fail, the dispatcher does it later: unsealed, none of it ever runs."""
    try:
        with services.database.write() as session:
            ledger.drop_bulk(session, bulk_id)
        with services.database.write() as session:
            ledger.sweep_bulk(session, bulk_id, DROPPED_AT_ONCE)
    except SQLAlchemyError as error:
        log.warning("could not drop a bulk, left to the dispatcher", bulk=bulk_id, error=describe(error))


def _open(services: Services, tenant_id: str, key: str | None) -> tuple[str | None, str]:
    """The digest and id of the bulk that this key has made, or no digest and the id of a new one."""
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
    except IntegrityError as error:  # the same request came twice at once, and the other one was faster
        raise BulkLoading from error


def _load(services: Services, tenant_id: str, bulk_id: str, reader: BulkReader) -> None:
    queued: int | None = None
    for chunk in _chunks(reader.jobs()):
        with services.database.write() as session:
            if not ledger.touch_bulk(session, bulk_id, reader.lines):
                raise _given_up()
            queued = ledger.reserve_quota(session, tenant_id, len(chunk), sum(job.cost for job in chunk), queued)
            ledger.submit(session, tenant_id, chunk, bulk_id=bulk_id)
        time.sleep(0)  # gevent: the server's other requests have a turn


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


def _given_up() -> BadBulk:
    return BadBulk("The bulk was canceled, or came so slowly that it was given up; nothing was queued: send it again.")


def announce(services: Services, changes: list[Change], released: list[Released]) -> None:
    """After the commit: publish what was released, and tell. Redis may be away; then the dispatcher makes up for it."""
    if released:
        try:
            publish(services.celery, changes[0].model, released)
        except Exception as error:  # noqa: BLE001 - kombu raises what its transport raises; the job is safe already
            log.warning("could not publish, left to the dispatcher", jobs=len(released), error=repr(error)[:200])
    else:
        services.hints.waiting()
    services.hints.changed(changes)
