"""What the operator reads: `/metrics` and the addresses of all processes' metrics.

The operator's port serves them without a key (`serving/operator_port.py`). On the web server's own port they need
LIMNER_METRICS_KEY, unless the service is open to this machine only.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Any, Final

from apiflask import APIBlueprint
from flask import Flask, Response, request
from redis.exceptions import RedisError

from limner_shared import metrics
from limner_shared.errors import Forbidden, Unauthorized
from limner_shared.messaging.reports import WebReport, read_reports
from limner_shared.metrics.exposition import render
from limner_web.services import get_services
from limner_web.serving.operator_port import is_operator
from limner_web.serving.probe import Health

bp = APIBlueprint("operator", __name__, enable_openapi=False)
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def install(app: Flask) -> None:
    """Require the operator's key."""
    app.before_request(_require_operator)


def measure_request(method: str, status: int, seconds: float) -> None:
    """Record a request that was answered."""
    method = method if method in METHODS else "other"
    route = request.url_rule.rule if request.url_rule is not None else "none"
    metrics.HTTP_REQUESTS.inc(method=method, route=route, status=str(status))
    metrics.HTTP_REQUEST_SECONDS.observe(seconds, method=method, route=route)


@bp.get("/metrics")
def show_metrics() -> Response:
    """The metrics of all web processes together."""
    body, content_type = render()
    return Response(body, content_type=content_type)


@bp.get("/metrics/targets")
def list_targets() -> list[dict[str, Any]]:
    """The addresses at which all processes serve their metrics, as Prometheus's HTTP discovery reads them."""
    services = get_services()
    try:
        webs = read_reports(services.hints.redis, WebReport)
    except RedisError:
        webs = []
    return targets(webs, services.probe.check(), services.settings.cell)


def targets(webs: Sequence[WebReport], health: Health, cell: str) -> list[dict[str, Any]]:
    """The reported addresses, one entry for each kind of process, with the cell's name as a label."""
    found = {
        "limner-web": [report.metrics for report in webs],
        "limner-dispatcher": [report.metrics for report in health.dispatchers if report.metrics],
        "limner-worker": [report.metrics for report in health.workers if report.metrics],
    }
    of_cell = {"cell": cell} if cell else {}
    return [{"targets": sorted(some), "labels": {"job": job} | of_cell} for job, some in found.items() if some]


def _require_operator() -> None:
    """Raise Unauthorized or Forbidden for a request for metrics that is not the operator's."""
    if request.blueprint != bp.name or is_operator(request.environ):
        return
    settings = get_services().settings
    if not settings.metrics_key:
        if settings.keys_required or settings.public_url:
            raise Forbidden("Set LIMNER_METRICS_KEY to read metrics here, or read them on the operator's port.")
        return
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(key.strip().encode(), settings.metrics_key.encode()):
        raise Unauthorized("Send the operator's key as `Authorization: Bearer LIMNER_METRICS_KEY`.")
