"""What a job would cost and when it would be finished, before it is submitted."""

from __future__ import annotations

from dataclasses import replace

from redis import Redis
from sqlalchemy.orm import Session

from limner_shared.db import ledger, pause_queries, queries, release_queries, standing
from limner_shared.db.accounts.usage import granted_today
from limner_shared.db.tables import Job
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.estimate_views import EstimateView
from limner_shared.domain.estimates import alike, measure, seconds_left
from limner_shared.domain.ids import new_id
from limner_shared.domain.jobs import JobSpec, Priority
from limner_shared.domain.pauses import PauseKind
from limner_shared.domain.views import EtaView, PauseNotice
from limner_web.explanation import MAX_TENANTS, MEASURED_JOBS, MEASURED_SECONDS, running_processes
from limner_web.view_builders import pause_notice


def estimate(
    session: Session, redis: Redis, card: ModelCard, spec: JobSpec, tenant_id: str, priority: Priority
) -> EstimateView:
    """The estimate of a job of a tenant. It reads only."""
    cost = card.cost(spec)
    outlook = ledger.look_out(session, tenant_id, card.name, priority)
    pause = _pause(session, card.name, tenant_id) if outlook.any_pause else None
    ahead, tenants = outlook.first, 1
    if outlook.is_active or priority is Priority.LOW or cost > card.small_cost:
        ahead = standing.position(session, _as_waiting(card.name, tenant_id, priority))
        tenants = max(1, len(release_queries.waiting_tenants(session, card.name, priority.rank, MAX_TENANTS)))
    processes = running_processes(redis, card.name)
    is_stopped = pause is not None or (processes is not None and not processes.workers)
    left = None if outlook.cost_per_day is None else max(0, outlook.cost_per_day - granted_today(session, tenant_id))
    measured, eta = _eta(session, card.name, cost, ahead * tenants)
    return EstimateView(
        model=card.name,
        cost=cost,
        cost_left=left,
        ahead=ahead,
        workers=None if processes is None else processes.workers,
        paused=pause,
        alike=measured,
        eta=None if is_stopped else eta,
    )


def _eta(session: Session, model: str, cost: int, ahead: int) -> tuple[int, EtaView | None]:
    """How many jobs of about this cost were measured, and when such a job would be finished.

    The jobs ahead of it go at the rate of all jobs.
    """
    runs = queries.latest_runs(session, model, MEASURED_SECONDS, MEASURED_JOBS)
    same = alike(runs, cost)
    rate, own = measure(runs), measure(same)
    if rate is None or own is None:
        return len(same), None
    median, p90 = seconds_left(replace(rate, median_seconds=own.median_seconds, p90_seconds=own.p90_seconds), ahead)
    return len(same), EtaView(median_seconds=round(median, 1), p90_seconds=round(p90, 1))


def _as_waiting(model: str, tenant_id: str, priority: Priority) -> Job:
    """The job as it would wait for its release: the newest of its tenant's own queue."""
    return Job(id=new_id("job"), tenant_id=tenant_id, model=model, priority=priority.rank, queue_key=tenant_id)


def _pause(session: Session, model: str, tenant_id: str) -> PauseNotice | None:
    subjects = {PauseKind.MODEL: model, PauseKind.TENANT: tenant_id}
    found = [row for row in pause_queries.pauses(session) if subjects.get(PauseKind(row.kind)) == row.subject]
    return pause_notice(min(found, key=lambda row: row.kind != PauseKind.MODEL)) if found else None
