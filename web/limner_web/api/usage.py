"""The usage of a tenant."""

from __future__ import annotations

from datetime import date

from apiflask import APIBlueprint
from flask import g

from limner_shared.db.accounts.usage import usage
from limner_shared.domain.account_views import DayJobs, DayUsage, LimitsView, UsageView
from limner_web.auth import tenant_id
from limner_web.services import get_services

bp = APIBlueprint("usage", __name__, url_prefix="/api/v1/usage", tag="Account")


@bp.get("")
@bp.output(UsageView)
def get_usage() -> UsageView:
    """Retrieve usage.

    Returns the cost units granted and the jobs accepted per day, the queued and running jobs, the images of the last
    ten minutes, and the tenant's limits.
    """
    with get_services().database.read() as session:
        found = usage(session, tenant_id())
    limits = LimitsView(
        requests_per_minute=g.requests_per_minute,
        max_queued=found.tenant.max_queued,
        max_running=found.tenant.max_running,
        cost_per_day=found.tenant.cost_per_day,
    )
    accepted = [DayJobs(day=date.fromisoformat(day), jobs=jobs) for day, jobs in found.accepted]
    days = [DayUsage(day=date.fromisoformat(day), cost=cost) for day, cost in found.days]
    return UsageView(
        days=days,
        accepted=accepted,
        queued=found.queued,
        running=found.running,
        recent_images=found.recent_images,
        limits=limits,
    )
