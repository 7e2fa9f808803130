"""What a job or a bulk would cost and when it would be finished, before it is submitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from redis import Redis
from sqlalchemy.orm import Session

from limner_shared.db import ledger, pause_queries, queries, release_queries, waiting_queries
from limner_shared.db.accounts.usage import granted_today
from limner_shared.db.tables import Job
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.estimate_views import BulkEstimateView, EstimateView
from limner_shared.domain.estimates import alike, bulk_seconds, measure, seconds_left
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
    intake_state = ledger.read_intake_state(session, tenant_id, card.name, priority, is_estimate=True)
    pause = _pause(session, card.name, tenant_id) if intake_state.any_pause else None
    ahead, tenants = intake_state.first, 1
    if intake_state.is_active or priority is Priority.LOW or cost > card.small_cost:
        ahead = waiting_queries.position(session, _as_waiting(card.name, tenant_id, priority))
        tenants = max(1, len(release_queries.waiting_tenants(session, card.name, priority.rank, MAX_TENANTS)))
    processes = running_processes(redis, card.name)
    is_stopped = pause is not None or (processes is not None and not processes.workers)
    measured, eta = _eta(session, card.name, cost, ahead * tenants)
    return EstimateView(
        model=card.name,
        cost=cost,
        cost_left=_cost_left(session, tenant_id, intake_state.cost_per_day),
        ahead=ahead,
        workers=None if processes is None else processes.workers,
        paused=pause,
        alike=measured,
        eta=None if is_stopped else eta,
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """What is known of a bulk's jobs of one model."""

    workers: int | None
    pause: PauseNotice | None
    seconds: tuple[float, float] | None


def estimate_bulk(
    session: Session,
    redis: Redis,
    parts: Mapping[str, Sequence[tuple[ModelCard, JobSpec, int]]],
    tenant_id: str,
    priority: Priority,
) -> BulkEstimateView:
    """The estimate of a bulk of a tenant. `parts` has the jobs of each model: its card, a job, and how many such."""
    costs = {model: sum(card.cost(spec) * count for card, spec, count in jobs) for model, jobs in parts.items()}
    intake_states = {
        model: ledger.read_intake_state(session, tenant_id, model, priority, is_estimate=True) for model in parts
    }
    known = [
        _part(session, redis, model, cost, tenant_id, priority, is_any_paused=intake_states[model].any_pause)
        for model, cost in costs.items()
    ]
    workers = [part.workers for part in known if part.workers is not None]
    pauses = [part.pause for part in known if part.pause is not None]
    times = [part.seconds for part in known if part.seconds is not None]
    is_known = len(times) == len(known) and not pauses and 0 not in workers
    median, p90 = (round(sum(each), 1) for each in zip(*times, strict=True)) if is_known else (0.0, 0.0)
    return BulkEstimateView(
        jobs=sum(count for jobs in parts.values() for *_, count in jobs),
        cost=sum(costs.values()),
        cost_left=_cost_left(session, tenant_id, next(iter(intake_states.values())).cost_per_day),
        workers=min(workers, default=None),
        paused=pauses[0] if pauses else None,
        eta=EtaView(median_seconds=median, p90_seconds=p90) if is_known else None,
    )


def _part(
    session: Session, redis: Redis, model: str, cost: int, tenant_id: str, priority: Priority, *, is_any_paused: bool
) -> _Part:
    """What is known of a bulk's jobs of one model, with their cost together."""
    ahead = waiting_queries.position(session, _as_waiting(model, tenant_id, priority))
    tenants = max(1, len(release_queries.waiting_tenants(session, model, priority.rank, MAX_TENANTS)))
    processes = running_processes(redis, model)
    runs = queries.latest_runs(session, model, MEASURED_SECONDS, MEASURED_JOBS)
    return _Part(
        workers=None if processes is None else processes.workers,
        pause=_pause(session, model, tenant_id) if is_any_paused else None,
        seconds=bulk_seconds(runs, cost, ahead * tenants),
    )


def _cost_left(session: Session, tenant_id: str, cost_per_day: int | None) -> int | None:
    return None if cost_per_day is None else max(0, cost_per_day - granted_today(session, tenant_id))


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
    subjects: dict[str, str] = {PauseKind.MODEL: model, PauseKind.TENANT: tenant_id, PauseKind.OWN: tenant_id}
    found = [row for row in pause_queries.pauses(session) if subjects.get(row.kind) == row.subject]
    return pause_notice(min(found, key=lambda row: list(subjects).index(row.kind))) if found else None
