"""The queues of all tenants, and the workers, for the operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from apiflask import APIBlueprint
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy.orm import Session

from limner_shared.db import fleet_queries, pause_queries, queries, release_queries
from limner_shared.db.tables import Pause
from limner_shared.db.views import as_datetime
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.durations import HOUR_SECONDS
from limner_shared.domain.estimates import FinishedRun, measure
from limner_shared.domain.fleet_views import (
    HeldJobView,
    LaneView,
    MemoryView,
    QueueList,
    QueueView,
    TenantQueueList,
    TenantQueueView,
    WorkerList,
    WorkerView,
)
from limner_shared.domain.jobs import Lane, Priority
from limner_shared.domain.pauses import PauseKind
from limner_shared.errors import ServiceUnavailable
from limner_shared.messaging.reports import WorkerReport, read_reports
from limner_web.explanation import MEASURED_JOBS, MEASURED_SECONDS, rate_view
from limner_web.services import get_services
from limner_web.view_builders import pause_notice

bp = APIBlueprint("fleet", __name__, url_prefix="/api/v1", tag="Operation")

MAX_HELD: Final = 10_000
"""The running jobs that are read at most."""
MAX_SHOWN: Final = 100
MAX_TENANTS: Final = 100
COUNTED_OF_TENANT: Final = 10_000
"""Counting the queued jobs of one tenant stops here."""
MEASURED_OF_WORKERS: Final = 1000
"""Finished jobs of each model that the rates of the workers are measured by."""


@bp.get("/queues")
@bp.output(QueueList)
def list_queues() -> QueueList:
    """List queues.

    Returns the queue of each model over all tenants: what runs, what waits in each lane, and how fast it goes. Needs
    the scope `admin` and the tenant `local`.
    """
    services = get_services()
    reports = _reports(services.hints.redis)
    with services.database.read() as session:
        running = fleet_queries.running_by_model(session)
        pauses = {row.subject: row for row in pause_queries.pauses(session) if row.kind == PauseKind.MODEL}
        cards = services.catalogue.cards.values()
        return QueueList(items=[_queue(session, card, running, pauses.get(card.name), reports) for card in cards])


@bp.get("/queues/tenants")
@bp.output(TenantQueueList)
def list_tenant_queues() -> TenantQueueList:
    """List queues by tenant.

    Returns the tenants with jobs that run or could start, also while they are paused: how many of each wait and run,
    those with the most waiting jobs first. Needs the scope `admin` and the tenant `local`.
    """
    services = get_services()
    with services.database.read() as session:
        models = list(services.catalogue.cards)
        found, more = fleet_queries.tenant_queues(session, models, MAX_TENANTS, COUNTED_OF_TENANT)
    return TenantQueueList(items=[TenantQueueView(**each._asdict()) for each in found], more=more)


@bp.get("/workers")
@bp.output(WorkerList)
def list_workers() -> WorkerList:
    """List workers.

    Returns the running workers with their devices, memory, current jobs and rates. Needs the scope `admin` and the
    tenant `local`.
    """
    services = get_services()
    reports = _reports(services.hints.redis)
    if reports is None:
        raise ServiceUnavailable("Redis is unavailable, where workers report. Try again shortly.")
    with services.database.read() as session:
        held: dict[str | None, list[fleet_queries.HeldJob]] = {}
        for job in fleet_queries.held_jobs(session, MAX_HELD):
            held.setdefault(job.owner, []).append(job)
        models = sorted({model for report in reports for model in report.models})
        runs = fleet_queries.runs_by_owner(session, models, HOUR_SECONDS, MEASURED_OF_WORKERS)
    return WorkerList(items=[_worker(each, held.get(each.owner, []), runs.get(each.owner, [])) for each in reports])


def _reports(redis: Redis) -> list[WorkerReport] | None:
    try:
        return read_reports(redis, WorkerReport)
    except RedisError:
        return None


def _queue(
    session: Session,
    card: ModelCard,
    running: Mapping[str, int],
    pause: Pause | None,
    reports: list[WorkerReport] | None,
) -> QueueView:
    rate = measure(queries.latest_runs(session, card.name, MEASURED_SECONDS, MEASURED_JOBS))
    return QueueView(
        model=card.name,
        title=card.title,
        paused=None if pause is None else pause_notice(pause),
        pause=None if pause is None else pause.id,
        running=running.get(card.name, 0),
        workers=None if reports is None else sum(card.name in each.models and not each.draining for each in reports),
        rate=None if rate is None else rate_view(rate),
        lanes=_lanes(session, card.name),
    )


def _lanes(session: Session, model: str) -> list[LaneView]:
    released = release_queries.released_sizes(session, model)
    backlog = {
        Lane.of(priority.rank): release_queries.backlog_size(session, model, priority.rank) for priority in Priority
    }
    empty = release_queries.EMPTY
    return [
        LaneView(
            lane=lane.name.lower(),
            released=released.get(lane, empty).jobs,
            backlog=backlog.get(lane, empty).jobs,
            oldest_seconds=round(max(each.get(lane, empty).oldest_seconds for each in (released, backlog)), 1),
        )
        for lane in Lane
    ]


def _worker(report: WorkerReport, held: list[fleet_queries.HeldJob], runs: list[FinishedRun]) -> WorkerView:
    rate = measure(runs)
    jobs = sorted(held, key=lambda job: job.started_at or 0.0)[:MAX_SHOWN]
    known = report.memory_used > 0 and report.memory_total > 0
    return WorkerView(
        id=report.owner,
        device=report.device,
        models=report.models,
        memory=MemoryView(used=report.memory_used, total=report.memory_total) if known else None,
        held=report.held,
        closed=report.closed,
        draining=report.draining,
        stalled=report.stalled,
        rate=None if rate is None else rate_view(rate),
        jobs=[
            HeldJobView(id=job.id, model=job.model, attempt=job.attempt, started_at=as_datetime(job.started_at))
            for job in jobs
        ],
    )
