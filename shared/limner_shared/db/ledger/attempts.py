"""A worker's attempt at a job: claimed, renewed and ended, each only while it is the current attempt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import ColumnElement, Row, Text, and_, bindparam, cast, func, select, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningUpdate

from limner_shared.db import pause_queries, release_queries
from limner_shared.db.engine import now
from limner_shared.db.ledger.counting import count_claims
from limner_shared.db.ledger.quotas import reserve_quota
from limner_shared.db.ledger.scheduling import BACK_TO_QUEUE, retry, start_due
from limner_shared.db.ledger.search_index import replace_words
from limner_shared.db.ledger.transitions import error_values, lock_bulks, record, transition
from limner_shared.db.ledger.types import AttemptKey, Change, Claim, EventKind, Result
from limner_shared.db.library_tables import ImageEmbedding
from limner_shared.db.many_rows import among, among_those, insert_many, update_many
from limner_shared.db.tables import Image, Job, Tenant
from limner_shared.db.webhooks.outbox import NewEvent, emit
from limner_shared.domain.conditions import Interpretation
from limner_shared.domain.ids import new_id
from limner_shared.domain.jobs import LOSSES_TOGETHER, SPEC_VERSION, JobSpec, JobState, Lane, sources
from limner_shared.domain.prompt_weights import in_drawn_words
from limner_shared.domain.safety import TenantPolicy
from limner_shared.domain.webhooks import EventType
from limner_shared.errors import UnreadableJob

_KEY: Final = Job.id.concat(":").concat(cast(Job.attempt, Text))
"""An attempt's key as one text."""
_RUNNING: Final = Job.state == JobState.RUNNING


def claim(
    session: Session, job_ids: Iterable[str], owner: str, lease_seconds: float, *, together: bool = False
) -> list[Claim]:
    """queued → running for those of these jobs that are still queued; a duplicate or stale message claims nothing.

    A job whose spec cannot be read fails, and the others are claimed. A job whose spec has a newer version stays
    queued for newer workers; one that waits for a time (a duplicate message of a job that is retried) or whose model or
    tenant is paused, for the dispatcher.

    `together`: the jobs will run beside others, so those that must run alone are left out. An old message may name
    such a job: it was published before the job's workers were lost.
    """
    values = {"jobs": list(job_ids), "by": owner, "lease": lease_seconds}
    rows = session.execute(_claim_statement(together=together), values).all()
    record(session, EventKind.CLAIMED, [row.id for row in rows], {"owner": owner})
    started = [row for row in rows if row.attempt == 1]
    events = [NewEvent(row.tenant_id, EventType.JOB_STARTED, row.id, row.webhook) for row in started]
    notifies = emit(session, events)
    count_claims(session, rows)
    claims: list[Claim] = []
    unreadable: list[tuple[Row[*tuple[Any, ...]], Exception]] = []
    for row in rows:
        try:
            claims.append(_claim(row, notifies=notifies))
        except Exception as error:  # noqa: BLE001 - whatever a damaged row raises, it fails its job alone
            unreadable.append((row, error))
    lock_bulks(session, [row.bulk_id for row, _ in unreadable])
    for row, error in unreadable:
        _fail_unreadable(session, row.id, row.attempt, error)
    return claims


@cache
def _claim_statement(*, together: bool) -> ReturningUpdate[*tuple[Any, ...]]:
    readable = func.coalesce(Job.spec["version"].as_integer(), SPEC_VERSION) <= SPEC_VERSION
    chosen = (
        select(Job.id)
        .where(
            among_those(Job.id, "jobs"), Job.state.in_(sources(JobState.RUNNING)), Job.not_before.is_(None), readable
        )
        .where(pause_queries.not_paused())
        .with_for_update(skip_locked=True)
    )
    if together:
        chosen = chosen.where(Job.losses < LOSSES_TOGETHER)
    values: dict[Any, Any] = {
        Job.state: JobState.RUNNING,
        Job.version: Job.version + 1,
        Job.attempt: Job.attempt + 1,
        Job.owner: bindparam("by"),
        Job.lease_until: now() + bindparam("lease", type_=Job.lease_until.type),
        Job.started_at: func.coalesce(Job.started_at, now()),
    }
    tenant = [_of_tenant(name) for name in ("share_results", "safety", "blocked_terms", "sign_pictures")]
    columns = (Job.id, Job.tenant_id, Job.bulk_id, Job.attempt, Job.version, Job.lane, Job.spec, Job.interpretation)
    more = (Job.webhook, Job.model, Job.traceparent, (now() - Job.created_at).label("waited"))
    return update_many(Job).where(Job.id.in_(chosen)).values(values).returning(*columns, *more, *tenant)


def _of_tenant(column: str) -> ColumnElement[Any]:
    """A column of the tenant of a job."""
    return select(getattr(Tenant, column)).where(Tenant.id == Job.tenant_id).scalar_subquery().label(column)


def _fail_unreadable(session: Session, job_id: str, attempt: int, error: Exception) -> None:
    """running → failed for a spec that is not valid. The event records the fields, but not their values."""
    where = error.errors(include_input=False, include_url=False) if isinstance(error, ValidationError) else []
    fields = sorted({".".join(map(str, each["loc"])) for each in where}) or [type(error).__name__]
    values = error_values(UnreadableJob()) | {"state": JobState.FAILED, "finished_at": now(), "lease_until": None}
    transition(session, _current([AttemptKey(job_id, attempt)]), values, EventKind.FAILED, {"unreadable": fields})


def _claim(row: Row[*tuple[Any, ...]], *, notifies: bool) -> Claim:
    spec = in_drawn_words(JobSpec.model_validate(row.spec))
    return Claim(
        id=row.id,
        tenant_id=row.tenant_id,
        bulk_id=row.bulk_id,
        attempt=row.attempt,
        version=row.version,
        lane=Lane.NORMAL if row.lane is None else Lane(row.lane),
        spec=spec,
        interpreted=spec.description is None or row.interpretation is not None,
        shares=row.share_results,
        tenant=TenantPolicy.of_columns(row.safety, row.blocked_terms, row.sign_pictures),
        notifies=notifies,
        traceparent=row.traceparent,
    )


def store_interpretation(
    session: Session, job_id: str, attempt: int, interpretation: Interpretation, spec: JobSpec, cost: int
) -> bool:
    """Store the interpretation of a description, if the attempt still owns the job; a later attempt does not repeat it.

    Raises TooManyRequests if the tenant's cost units for today do not cover the cost beyond what was granted.
    """
    current = _current([AttemptKey(job_id, attempt)])
    # Locked: if the lease were lost after this, the cost and the words would be written all the same.
    owned = select(Job.tenant_id, Job.cost).where(current).with_for_update(key_share=True)
    before = session.execute(owned).one_or_none()
    if before is None:
        return False
    if cost > before.cost:
        reserve_quota(session, before.tenant_id, 0, cost - before.cost)
    values: dict[str, Any] = {
        "interpretation": interpretation.model_dump(),
        "spec": spec.stored(),
        "cost": cost,
    }
    replace_words(session, job_id, before.tenant_id, values["spec"])
    return bool(transition(session, current, values, EventKind.INTERPRETED, {"backend": interpretation.backend}))


def claim_next(session: Session, models: Sequence[str], limit: int, owner: str, lease_seconds: float) -> list[Claim]:
    """Claim the next queued jobs of these models without a message, released ones first: for when Redis is
    unavailable. Those whose `not_before` has come are among them, even if no dispatcher runs.
    """
    start_due(session, limit)
    chosen: list[str] = []
    for model in models:
        chosen += release_queries.next_jobs(session, model, limit - len(chosen))
    return claim(session, chosen, owner, lease_seconds, together=True)


def renew(session: Session, attempts: Iterable[AttemptKey], lease_seconds: float) -> set[AttemptKey]:
    """Extend the leases of these attempts in one statement. Returns the attempts that are still the current ones."""
    statement = (
        update_many(Job)
        .where(_current(attempts))
        .values(lease_until=now() + lease_seconds)
        .returning(Job.id, Job.attempt)
    )
    return {AttemptKey(*row) for row in session.execute(statement)}


def forfeit(session: Session, attempts: Iterable[AttemptKey]) -> None:
    """Expire the leases of these attempts now, so that the reaper counts each as a loss without a wait."""
    session.execute(update_many(Job).where(_current(attempts)).values(lease_until=now()))


def settle(
    session: Session,
    results: Sequence[Result],
    returned: Sequence[AttemptKey] = (),
    lost: Sequence[AttemptKey] = (),
) -> list[Change]:
    """End attempts with their results, hand back those `returned` and forfeit those `lost`, in one transaction."""
    succeeded = [result for result in results if result.error is None]
    failed = [result for result in results if result.error is not None]
    keys = [*(result.key for result in results), *returned, *lost]
    if len(keys) > max(1, len(succeeded)):  # several statements: they must not wait for one another's locks
        jobs = select(Job.bulk_id).where(_current(keys)).order_by(Job.id).with_for_update(key_share=True)
        lock_bulks(session, session.scalars(jobs))
    changes = finish(session, succeeded)
    changes += [change for result in failed if (change := fail(session, result)) is not None]
    if returned:
        changes += hand_back(session, returned, "worker cannot do it now")
    if lost:
        forfeit(session, lost)
    return changes


def finish(session: Session, results: Sequence[Result]) -> list[Change]:
    """running → succeeded with its images, for each result whose attempt still owns the job; the others change
    nothing.
    """
    if not results:
        return []
    values = {"state": JobState.SUCCEEDED, "finished_at": now(), "lease_until": None}
    # Only the last of several attempts at one job can be the current one.
    by_id = {result.job_id: result for result in sorted(results, key=lambda result: result.attempt)}
    current = _current([result.key for result in by_id.values()])
    changes = transition(session, current, values, EventKind.SUCCEEDED)
    _store_presentations(session, [by_id[change.id] for change in changes])
    _store_images(session, [(change.tenant_id, by_id[change.id]) for change in changes])
    return changes


def _store_images(session: Session, results: Sequence[tuple[str, Result]]) -> None:
    """Insert the images of results, each given with its tenant's id, and their embeddings."""
    rows: list[dict[str, Any]] = []
    embeddings: list[dict[str, Any]] = []
    for tenant_id, result in results:
        stored = _image_rows(result)
        rows += stored
        for row, image in zip(stored, result.images, strict=True):
            if image.embedding is not None:
                embeddings.append({"image_id": row["id"], "tenant_id": tenant_id, **image.embedding._asdict()})
    insert_many(session, Image, rows, times={"created_at": 0})
    insert_many(session, ImageEmbedding, embeddings)


def _store_presentations(session: Session, results: Sequence[Result]) -> None:
    texts = [{"job": result.job_id, "text": result.presentation} for result in results if result.presentation]
    if texts:
        statement = update(Job).where(Job.id == bindparam("job")).values(presentation=bindparam("text"))
        session.connection().execute(statement, texts)


def fail(session: Session, result: Result) -> Change | None:
    """running → failed with the result's error, or → queued for a retry (`scheduling.retry`), if its attempt still owns
    the job; otherwise None, and nothing changes.
    """
    if result.error is None:
        raise ValueError("a failed result must have an error")
    current = _current([result.key])
    retried = retry(session, current, result.error)
    if retried is not None:
        return retried
    values = error_values(result.error) | {"state": JobState.FAILED, "finished_at": now(), "lease_until": None}
    changes = transition(session, current, values, EventKind.FAILED)
    return changes[0] if changes else None


def hand_back(session: Session, attempts: Iterable[AttemptKey], reason: str = "worker stopping") -> list[Change]:
    """running → queued for attempts that their worker gives up; they do not count as losses."""
    return requeue(session, _current(attempts), losses=0, reason=reason)


def requeue(session: Session, which: ColumnElement[bool], *, losses: int, reason: str) -> list[Change]:
    """running → queued, to be released again."""
    values = BACK_TO_QUEUE | {"losses": Job.losses + losses}
    return transition(session, which & (Job.state == JobState.RUNNING), values, EventKind.REQUEUED, {"reason": reason})


def _current(attempts: Iterable[AttemptKey]) -> ColumnElement[bool]:
    """The fencing condition: these attempts, if they are still running and the current ones."""
    keys = list(attempts)
    the_current = among(_KEY, [f"{job_id}:{attempt}" for job_id, attempt in keys])
    return and_(among(Job.id, [job_id for job_id, _ in keys]), the_current, _RUNNING)


def _image_rows(result: Result) -> list[dict[str, Any]]:
    return [
        {
            "id": new_id("img"),
            "job_id": result.job_id,
            "image_index": index,
            "sha256": image.sha256,
            "media_type": image.media_type,
            "width": image.width,
            "height": image.height,
            "size_bytes": image.size_bytes,
            "seed": image.seed,
            "receipt": dict(image.receipt),
            "alt_text": image.alt_text,
            "recipe": image.deduplication_key,  # the column's name
        }
        for index, image in enumerate(result.images)
    ]
