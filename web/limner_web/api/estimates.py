"""Estimates of jobs that were not submitted."""

from __future__ import annotations

from typing import Final

from apiflask import APIBlueprint
from pydantic import BaseModel, ConfigDict, Field

from limner_shared.domain.estimate_views import EstimateView
from limner_shared.domain.jobs import JobRequest, Priority, RequestedName
from limner_web.auth import tenant_id
from limner_web.estimation import estimate
from limner_web.services import get_services

bp = APIBlueprint("estimates", __name__, url_prefix="/api/v1/estimate", tag="Jobs")

ANY_PROMPT: Final = "anything"
"""What a job costs does not depend on its prompt."""


class EstimateQuery(BaseModel):
    """The fields of a job on which its cost and its place depend, with the defaults of a job."""

    model_config = ConfigDict(extra="forbid")
    model: RequestedName | None = Field(default=None, description="A name from `GET /models`.")
    width: int | None = Field(default=None, description="The width, in pixels.")
    height: int | None = Field(default=None, description="The height, in pixels.")
    steps: int | None = Field(default=None, description="The number of denoising steps.")
    n: int | None = Field(default=None, ge=1, description="The number of images.")
    priority: Priority = Field(default=Priority.NORMAL, description="The priority class.")


@bp.get("")
@bp.input(EstimateQuery, location="query", arg_name="query")
@bp.output(EstimateView)
def get_estimate(query: EstimateQuery) -> EstimateView:
    """Estimate a job.

    Returns what a job with these fields would cost and when it would probably be finished, without submitting it. The
    time comes from the model's jobs of about the same cost that were finished last.
    """
    services = get_services()
    fields = query.model_dump(exclude={"priority"}, exclude_none=True)
    card, spec = services.catalogue.resolve(JobRequest(prompt=ANY_PROMPT, **fields))
    with services.database.read() as session:
        return estimate(session, services.hints.redis, card, spec, tenant_id(), query.priority)
