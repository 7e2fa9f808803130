"""The last hour of the service, for the operator."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from apiflask import APIBlueprint

from limner_shared.db import fleet_queries
from limner_shared.db.engine import clock
from limner_shared.domain.estimates import quantile
from limner_shared.domain.fleet_views import HistoryView, MinuteView
from limner_shared.messaging import queue_lengths
from limner_web.services import get_services

bp = APIBlueprint("history", __name__, url_prefix="/api/v1", tag="Operation")

MINUTES: Final = 60
BOUNDS: Final = (0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
"""The times by which latencies are counted, in seconds."""


@bp.get("/queues/history")
@bp.output(HistoryView)
def get_history() -> HistoryView:
    """Retrieve the last hour.

    Returns, for each minute, how many jobs waited, succeeded and failed, and how long they took, over all tenants and
    models. Needs the scope `admin` and the tenant `local`.
    """
    services = get_services()
    with services.database.read() as session:
        last = int(clock(session)) // 60
        ended = fleet_queries.ended_by_minute(session, MINUTES, BOUNDS)
    minutes = range(last - MINUTES + 1, last + 1)
    waiting = queue_lengths.read(services.hints.redis, minutes)
    return HistoryView(
        items=[_view(minute, ended.get(minute), jobs) for minute, jobs in zip(minutes, waiting, strict=True)]
    )


def _view(minute: int, ended: fleet_queries.EndedMinute | None, waiting: int | None) -> MinuteView:
    succeeded, failed, within = ended or (0, 0, (0,) * len(BOUNDS))
    median, p90 = (quantile(part, within, BOUNDS, succeeded) for part in (0.5, 0.9))
    return MinuteView(
        at=datetime.fromtimestamp(60 * minute, UTC),
        waiting=waiting,
        succeeded=succeeded,
        failed=failed,
        median_seconds=None if median is None else round(median, 2),
        p90_seconds=None if p90 is None else round(p90, 2),
    )
