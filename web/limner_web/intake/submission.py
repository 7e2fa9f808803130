"""Submission of single jobs: from a checked request to a queued job. Every API submits through here."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sqlalchemy.orm import Session

from limner_shared import tracing
from limner_shared.db import ledger, queries
from limner_shared.db.ledger import NewJob, Submission, UniqueHold
from limner_shared.db.tables import Image, Job
from limner_shared.domain.conditions import Turn
from limner_shared.domain.inputs import INPUT_FIELDS
from limner_shared.domain.jobs import JobRequest, JobSpec, Priority
from limner_shared.domain.replay import REPLAY_OF, replay_spec
from limner_shared.errors import InvalidState, LimnerError
from limner_shared.messaging.celery_app import publish
from limner_shared.telemetry import bind_log_ids, get_logger, job_ids
from limner_web.http.caller_languages import caller_languages
from limner_web.intake.earlier_pictures import EarlierPictures
from limner_web.intake.final_checks import check_and_store_inputs
from limner_web.intake.headers import JobHeaders
from limner_web.intake.idempotency import Repeat, job_made_before, submit_once
from limner_web.intake.scheduling import retry_limit, start_time
from limner_web.intake.webhooks import job_webhook
from limner_web.services import Services

log = get_logger(__name__)

HASHED_ON_THREAD_CHARS: Final = 64_000
"""Longer input images are hashed on a thread, so that they do not block the event loop."""


ALWAYS_HASHED: Final = (
    *("prompt", "description", "negative_prompt", "model", "style", "width", "height", "steps", "guidance"),
    *("guidance_rescale", "scheduler", "adapters", "image", "mask", "strength", "seed", "n", "priority"),
    *("expires_in", "reproducible", "provenance", "metadata"),
)
"""The fields of the first release. Any other has a part in the digest only if it is not its default, so that a request
repeated across an upgrade, or at a process of another release, has the same digest."""


@dataclass(frozen=True, slots=True)
class ConversationContext:
    """The conversation that a job belongs to."""

    digest_prefix: str
    """Part of the request's digest. It holds only what the client sent, so a repeated message has the same digest even
    if the conversation has grown meanwhile."""
    history: tuple[Turn, ...]
    """The turns before this one, oldest first."""
    store_turn: Callable[[Session, str], str | None]
    """Called with the session and the id of the new job, in the transaction that creates the job; returns the id of the
    stored turn, if one is stored."""
    model: str | None = None
    """The model to use if the request names none."""
    waits: bool = False
    """Whether the request waits for the job's end."""
    earlier: EarlierPictures | None = None
    """What the job is given if the request has no pictures of its own."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The job that answers a request; `existing` if it holds the request's unique key, so that no job was made."""

    job_id: str
    existing: bool = False
    stored: Job | None = None
    """The job as it was just stored; None if this request did not make it."""
    ahead: int | None = None
    """How many jobs are ahead of it, if it was released."""


def submit(
    services: Services,
    tenant_id: str,
    request: JobRequest,
    header: JobHeaders,
    context: ConversationContext | None = None,
    *,
    webhook: dict[str, Any] | None = None,
) -> Accepted:
    """Queue one job, unless another one holds its unique key; returns the job that answers the request.

    Requests with the same idempotency key make one job. Without a key, a client that numbers its tries gets the job of
    its first try.

    `webhook` is a `webhooks.Webhook` as JSON, for requests whose own fields cannot name it.

    Raises InvalidRequest, ModerationBlocked, TooManyRequests, IdempotencyConflict, UniqueKeyLoading or Gone.
    """
    digest_prefix = "" if webhook is None else json.dumps([webhook["url"], webhook["events"]])
    digest = _digest(services, context.digest_prefix if context is not None else digest_prefix, request)
    repeat = Repeat.of(header, digest, waits=context is not None and context.waits)
    try:
        new_job = _new_job(services, tenant_id, request, context, webhook)
    except LimnerError:  # what was accepted stays so, whatever has changed since: its pictures, rules, or the store
        earlier = job_made_before(services, tenant_id, repeat)
        if earlier is None:
            raise
        return Accepted(earlier)

    outcome = submit_once(services, tenant_id, repeat, partial(_submit, services, tenant_id, new_job, context))
    if isinstance(outcome, str):
        return Accepted(outcome)
    if outcome.existing is not None:
        return Accepted(outcome.existing, existing=True)
    _announce(services, outcome)
    return Accepted(outcome.job_id, stored=ledger.as_stored(outcome.rows[0]), ahead=outcome.ahead)


def _submit(
    services: Services, tenant_id: str, new_job: NewJob, context: ConversationContext | None, session: Session
) -> Submission:
    existing = ledger.hold_unique_keys(session, tenant_id, [new_job]).get(0)
    if existing is not None:
        return Submission([], [], existing)
    submission = _queue(services, session, tenant_id, new_job)
    if context is not None:
        context.store_turn(session, submission.changes[0].id)
    return submission


def replay(services: Services, tenant_id: str, job_id: str, repeat: Repeat) -> str:
    """Queue a job that makes the same bytes as an earlier job, and return its id.

    Raises NotFound, InvalidState if the earlier job's prompt or images are not all there, TooManyRequests,
    IdempotencyConflict or Gone.
    """

    def submit_replay(session: Session) -> Submission:
        row = queries.job(session, tenant_id, job_id)
        images = queries.images(session, [job_id])[job_id]
        has_inputs = queries.keeps_inputs(session, job_id)
        card = services.catalogue.get(row.model)
        spec = _replay_spec(row, images, has_inputs=has_inputs)
        retries = int(card.max_retries.default)
        new_job = NewJob(
            spec,
            row.cost,
            Priority.NORMAL,
            {REPLAY_OF: job_id},
            max_retries=retries,
            traceparent=tracing.current_traceparent(),
        )
        return _queue(services, session, tenant_id, new_job)

    outcome = submit_once(services, tenant_id, repeat, submit_replay)
    if isinstance(outcome, str):
        return outcome
    _announce(services, outcome)
    return outcome.job_id


def _new_job(
    services: Services,
    tenant_id: str,
    request: JobRequest,
    context: ConversationContext | None,
    webhook: dict[str, Any] | None,
) -> NewJob:
    """The job of a request, with its input pictures stored. Raises InvalidRequest."""
    if context is not None and request.model is None:
        request = request.model_copy(update={"model": context.model})
    if context is not None and context.earlier is not None:
        request = context.earlier.complete(request, services.catalogue.get(request.model))
    card, spec = services.catalogue.resolve(request)
    not_before, retries = start_time(request, time.time()), retry_limit(card, request)
    webhook = job_webhook(services.targets, request) if webhook is None else webhook
    if context is not None:
        spec = spec.model_copy(update={"history": context.history})
    if request.description is not None:
        spec = spec.model_copy(update={"languages": caller_languages()})
    spec = check_and_store_inputs(services, tenant_id, spec)
    cost = card.cost(spec)
    return NewJob(
        spec,
        cost,
        request.priority or Priority.NORMAL,
        request.metadata,
        expires_in=request.expires_in,
        small=cost <= card.small_cost,
        not_before=not_before,
        max_retries=retries,
        webhook=webhook,
        unique=None if request.unique is None else UniqueHold(request.unique),
        traceparent=tracing.current_traceparent(),
    )


def _queue(services: Services, session: Session, tenant_id: str, new_job: NewJob) -> Submission:
    """Queue a job if its tenant's limits allow it. While Redis is away it is not released, because it could not be
    published. Raises TooManyRequests.
    """
    window = 0 if services.wakeups.redis_is_away else services.settings.release_window
    intake_state = ledger.read_intake_state(session, tenant_id, new_job.spec.model, new_job.priority)
    ledger.reserve_quota(session, tenant_id, 1, new_job.cost, intake_state=intake_state)
    submission = ledger.submit(session, tenant_id, [new_job], window=window, intake_state=intake_state)
    services.wakeups.in_commit(session)
    return submission


def _digest(services: Services, digest_prefix: str, request: JobRequest) -> str:
    """SHA-256 in hex of a request and its prefix."""
    inputs = {name: getattr(request, name) or "" for name in INPUT_FIELDS}
    large = {name: value for name, value in inputs.items() if len(value) > HASHED_ON_THREAD_CHARS}
    hashes: dict[str, Any] = {name: services.storage.call(_sha256, value) for name, value in large.items()}
    if references := request.reference_images:
        hashes["reference_images"] = tuple(services.storage.call(_sha256, value) for value in references)
    return _sha256(f"{digest_prefix}{hashed_text(request.model_copy(update=hashes))}")


def hashed_text(request: JobRequest) -> str:
    """What of a request makes its digest, as JSON: the same in each release that knows its fields."""
    fields = JobRequest.model_fields.items()
    later = {name for name, each in fields if name not in ALWAYS_HASHED and getattr(request, name) == each.default}
    return request.model_dump_json(exclude=later)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _replay_spec(row: Job, images: list[Image], *, has_inputs: bool) -> JobSpec:
    """The spec of a replay. Raises InvalidState if something that made the images is missing."""
    spec = JobSpec.read(row.spec)
    if spec is None:
        raise InvalidState("The job's stored request is damaged, so it cannot be replayed.", state=row.state)
    if not spec.prompt:
        message = "The job's prompt was deleted under the tenant's retention policy, so the job cannot be replayed."
        raise InvalidState(message, state=row.state)
    if len(images) < spec.n:
        raise InvalidState("Only a job whose images are all stored can be replayed.", state=row.state)
    if spec.inputs and not has_inputs:
        what = "starts from" if spec.image else "follows"
        message = f"The picture that the job {what} was deleted, so the job cannot be replayed."
        raise InvalidState(message, state=row.state)
    return replay_spec(spec, [image.receipt for image in images])


def _announce(services: Services, submission: Submission) -> None:
    """After the commit, publish the released jobs and send the hints.

    Redis may be unavailable: then workers that listen to the database claim the jobs, or the dispatcher publishes them
    later.
    """
    bind_log_ids(job=submission.job_id)
    tracing.annotate({tracing.JOB_ID: submission.job_id, tracing.MODEL: submission.changes[0].model})
    announce = partial(services.hints.changed, submission.changes, waiting=not submission.released)
    services.wakeups.after_commit(partial(_publish, services, submission) if submission.released else announce)
    if submission.released and not services.wakeups.redis_is_away:
        announce()


def _publish(services: Services, submission: Submission) -> bool:
    try:
        publish(services.celery, submission.changes[0].model, submission.released)
    except Exception as error:  # noqa: BLE001 - kombu raises its transport's errors; the job is already stored
        jobs = job_ids(job.id for job in submission.released)
        log.warning("could not publish, left to the others", jobs=jobs, error=repr(error)[:200])
        return False
    return True
