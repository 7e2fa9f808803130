"""Health checks: whether this process is alive, and whether the service can accept jobs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from apiflask import APIBlueprint

from limner_shared.messaging.reports import SLOW_SECONDS
from limner_shared.threads import slow_threads
from limner_web.services import get_services
from limner_web.serving.probe import FULL, Health

bp = APIBlueprint("health", __name__, tag="Health")


@bp.get("/healthz")
@bp.doc(responses={200: "The process is alive"})
def healthz() -> dict[str, str]:
    """Check liveness.

    Returns 200 as long as the process can answer requests.
    """
    return {"status": "ok"}


@bp.get("/readyz")
@bp.doc(responses={200: "Accepts jobs", 503: "Cannot accept jobs at the moment"})
def readyz() -> tuple[dict[str, Any], int]:
    """Check readiness.

    `status` is one of:

    - `ok`
    - `degraded`: Redis is unavailable, and jobs are still accepted and run; or a worker or this process cannot use the
      picture store, and jobs are accepted and wait (`store` is `failing`, and `store_reasons` says why, such as `full`,
      `denied` or `unreachable`); or the disk of the database is full, and what is stored can be read, while no new
      job is accepted (`database` is `full`); or threads of this process make no progress (`stalled` names them), so
      that events, batches or other work beside the requests may be late
    - `overloaded`: the process has reached its limit of concurrent requests
    - `unavailable`: the database cannot be used

    `load` gives the slots in use and the limit of each kind, and `hints.skipped` the messages that could not be read.
    `dispatchers` and `workers` summarise the reports of the running ones: items set aside after failures, threads that
    make no progress, and models that a worker has paused after failures. `paused` names the models that the operator
    has paused, and counts the tenants that the operator has paused.
    """
    services = get_services()
    found = services.probe.check()
    load = {
        kind: {"held": services.limiter.held[kind], "limit": limit} for kind, limit in services.limiter.limits.items()
    }
    stalled = slow_threads(services.supervisor.activity(), SLOW_SECONDS)
    status = _status(found, stalled, is_overloaded="requests" in services.limiter.full)
    code = HTTPStatus.SERVICE_UNAVAILABLE if status in ("unavailable", "overloaded") else HTTPStatus.OK
    return {
        "status": status,
        "database": found.database,
        "redis": found.redis,
        "store": found.store,
        "store_reasons": found.store_reasons,
        "load": load,
        "stalled": stalled,
        "hints": {"skipped": services.listener.skipped},
        "dispatchers": _dispatchers(found),
        "workers": _workers(found),
        "paused": {"models": sorted(found.paused.models), "tenants": len(found.paused.by_operator)},
    }, code


def _status(health: Health, stalled: list[str], *, is_overloaded: bool) -> str:
    if health.database not in ("ok", FULL):
        return "unavailable"
    if is_overloaded:
        return "overloaded"
    is_ok = {health.database, health.redis, health.store} == {"ok"} and not stalled
    return "ok" if is_ok else "degraded"


def _dispatchers(health: Health) -> dict[str, Any]:
    reports = health.dispatchers
    return {
        "running": len(reports),
        "leads": sorted({duty for report in reports for duty in report.leads}),
        "set_aside": sum(report.set_aside_count for report in reports),
        "stalled": sorted({name for report in reports for name in report.slow_threads(SLOW_SECONDS)}),
    }


def _workers(health: Health) -> dict[str, Any]:
    reports = health.workers
    return {
        "running": len(reports),
        "held": sum(report.held for report in reports),
        "paused": sorted({name for report in reports for name in report.closed}),
        "stalled": sorted({name for report in reports for name in report.stalled}),
    }
