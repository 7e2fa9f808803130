"""Why a job waits, and when it will probably be finished."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy.orm import Session

from limner_shared.db import pause_queries, queries, release_queries, waiting_queries
from limner_shared.db.engine import clock
from limner_shared.db.tables import Bulk, Job
from limner_shared.domain.bulks import BulkState
from limner_shared.domain.durations import DAY_SECONDS
from limner_shared.domain.estimates import Rate, measure, seconds_left
from limner_shared.domain.jobs import JobState, Lane
from limner_shared.domain.views import EtaView, ExplanationView, RateView, Reason
from limner_shared.messaging.reports import DispatcherReport, WorkerReport, read_reports

MEASURED_JOBS: Final = 200
MEASURED_SECONDS: Final = DAY_SECONDS
MAX_TENANTS: Final = 50


@dataclass(frozen=True, slots=True)
class Processes:
    """The running processes, by their reports."""

    workers: int
    """Workers that serve the model and accept jobs."""
    dispatchers: int


def explain(session: Session, redis: Redis, row: Job) -> ExplanationView:
    """Explain the state of a job."""
    processes = running_processes(redis, row.model)
    rate = measure(queries.latest_runs(session, row.model, MEASURED_SECONDS, MEASURED_JOBS))
    queued = row.state == JobState.QUEUED and row.not_before is None
    ahead = waiting_queries.position(session, row) if queued else None
    tenants = None
    if queued and row.released_at is None:
        tenants = max(1, len(release_queries.waiting_tenants(session, row.model, row.priority, MAX_TENANTS)))
    reason, message = _reason(session, row, processes, ahead or 0, tenants or 1)
    return ExplanationView(
        id=row.id,
        status=JobState(row.state),
        reason=reason,
        message=message,
        lane=_lane(row) if queued else None,
        ahead=ahead,
        tenants=tenants,
        workers=None if processes is None else processes.workers,
        rate=None if rate is None else rate_view(rate),
        eta=_eta(session, row, reason, rate, ahead, tenants),
    )


def _reason(session: Session, row: Job, processes: Processes | None, ahead: int, tenants: int) -> tuple[Reason, str]:
    """The most important reason: first what its owner can change, then what the operator can change."""
    if row.state == JobState.RUNNING:
        return "running", "A worker is running it."
    if row.state != JobState.QUEUED:
        return "ended", "It has been canceled." if row.state == JobState.CANCELED else f"It has {row.state}."
    if row.not_before is not None:
        return _delayed(session, row)
    held = _held(session, row) or _paused(session, row) or _missing(row, processes)
    return held or _queued(ahead, tenants)


def _paused(session: Session, row: Job) -> tuple[Reason, str] | None:
    """Whether its model or its tenant is paused."""
    paused = pause_queries.paused(session)
    if not paused.holds(row.model, row.tenant_id):
        return None
    if row.model not in paused.models and row.tenant_id not in paused.by_operator:
        return "paused", "You have paused your own queue; `paused` in the job says why and until when."
    return "paused", "The operator has paused its model or its tenant; `paused` in the job says why and until when."


def _missing(row: Job, processes: Processes | None) -> tuple[Reason, str] | None:
    """Which process it waits for does not run, if that is known."""
    if processes is not None and not processes.workers:
        return "no_worker", f"No running worker serves the model {row.model}."
    if processes is not None and not processes.dispatchers and row.released_at is None:
        return "no_dispatcher", "No dispatcher is running that could release it to the workers."
    return None


def _queued(ahead: int, tenants: int) -> tuple[Reason, str]:
    turns = f" {tenants} tenants take turns." if tenants > 1 else ""
    if not ahead:
        return "queued", f"It is the next one for the workers.{turns}"
    more = "at least " if ahead >= waiting_queries.POSITION_LIMIT else ""
    return "queued", f"{more}{ahead} {'job is' if ahead == 1 else 'jobs are'} ahead of it.{turns}".capitalize()


def _delayed(session: Session, row: Job) -> tuple[Reason, str]:
    moment = clock(session)
    seconds = max(0, round((row.not_before or 0.0) - moment))
    if row.retries:
        return "retrying", f"It failed with {row.error_code} and is tried again in {seconds} s (retry {row.retries})."
    return "scheduled", f"It is scheduled to start in {seconds} s."


def _held(session: Session, row: Job) -> tuple[Reason, str] | None:
    """Why the dispatcher does not release it, if there is such a reason."""
    if row.released_at is not None:
        return None
    bulk = None if row.bulk_id is None else session.get(Bulk, row.bulk_id)
    if bulk is not None and bulk.state == BulkState.PAUSED:
        return "paused", "Its bulk is paused: resume it to continue."
    if bulk is not None and bulk.state == BulkState.LOADING:
        return "loading", "Its bulk is still being uploaded."
    share = release_queries.shares(session, [row.tenant_id]).get(row.tenant_id)
    if share is not None and share.max_running is not None and share.active >= share.max_running:
        return "limited", f"The tenant has reached its limit of {share.max_running} released or running jobs."
    return None


def _lane(row: Job) -> str:
    lane = Lane.of(row.priority) if row.lane is None else Lane(row.lane)
    return lane.name.lower()


def _eta(
    session: Session, row: Job, reason: Reason, rate: Rate | None, ahead: int | None, tenants: int | None
) -> EtaView | None:
    """When it is expected to be finished. The jobs ahead of it in its own queue take turns with other tenants' jobs."""
    if rate is None or reason not in ("queued", "running", "scheduled", "retrying"):
        return None
    moment = clock(session)
    if reason == "running":
        left = seconds_left(rate, 0, max(0.0, moment - (row.started_at or moment)))
        return EtaView(median_seconds=round(left[0], 1), p90_seconds=round(left[1], 1))
    pause = max(0.0, (row.not_before or moment) - moment)
    median, p90 = seconds_left(rate, (ahead or 0) * (tenants or 1))
    return EtaView(median_seconds=round(pause + median, 1), p90_seconds=round(pause + p90, 1))


def rate_view(rate: Rate) -> RateView:
    """The rate of a model, for clients."""
    return RateView(
        jobs=rate.jobs,
        jobs_per_minute=round(rate.per_second * 60, 1),
        median_seconds=round(rate.median_seconds, 2),
    )


def running_processes(redis: Redis, model: str) -> Processes | None:
    """The processes that a job of the model needs, or None if Redis is unavailable."""
    try:
        workers = read_reports(redis, WorkerReport)
        dispatchers = read_reports(redis, DispatcherReport)
    except RedisError:
        return None
    return Processes(sum(each.takes(model) for each in workers), len(dispatchers))
