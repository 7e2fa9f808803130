"""Estimates of jobs that were not submitted."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from apiflask import APIBlueprint
from pydantic import BaseModel, ConfigDict, Field

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.estimate_views import BulkEstimateView, EstimateView
from limner_shared.domain.inputs import RequestedName
from limner_shared.domain.jobs import JobQuality, JobRequest, JobSpec, Priority
from limner_shared.domain.request_limits import placeholders
from limner_web.auth import tenant_id
from limner_web.estimation import estimate, estimate_bulk
from limner_web.services import get_services

bp = APIBlueprint("estimates", __name__, url_prefix="/api/v1/estimate", tag="Jobs")

ANY_PROMPT: Final = "anything"
"""What a job costs does not depend on its prompt."""


MOST_KINDS: Final = 1000
"""Kinds of jobs in one estimate."""


class CostFields(BaseModel):
    """The fields of a job on which its cost depends, with the defaults of a job."""

    model_config = ConfigDict(extra="forbid")
    model: RequestedName | None = Field(default=None, description="A name from `GET /models`.")
    width: int | None = Field(default=None, description="The width, in pixels.")
    height: int | None = Field(default=None, description="The height, in pixels.")
    steps: int | None = Field(default=None, description="The number of denoising steps.")
    n: int | None = Field(default=None, ge=1, description="The number of images.")
    quality: JobQuality | None = Field(default=None, description="`best` costs as many times more as it draws.")


class EstimateQuery(CostFields):
    """The fields of a job on which its cost and its place depend."""

    priority: Priority = Field(default=Priority.NORMAL, description="The priority class.")


class JobKind(CostFields):
    """Jobs of a bulk that cost the same."""

    count: int = Field(default=1, ge=1, le=10**9, description="How many such jobs there are.")


class BulkEstimateRequest(BaseModel):
    """The jobs of a bulk, by what they cost."""

    model_config = ConfigDict(extra="forbid")
    jobs: list[JobKind] = Field(min_length=1, max_length=MOST_KINDS, description="The kinds of jobs.")
    priority: Priority = Field(default=Priority.LOW, description="The priority class.")


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
    fields |= placeholders(services.catalogue.get(query.model).control)
    card, spec = services.catalogue.resolve(JobRequest(prompt=ANY_PROMPT, **fields))
    with services.database.read() as session:
        return estimate(session, services.hints.redis, card, spec, tenant_id(), query.priority)


@bp.post("")
@bp.input(BulkEstimateRequest, arg_name="body")
@bp.output(BulkEstimateView)
def post_estimate(body: BulkEstimateRequest) -> BulkEstimateView:
    """Estimate a bulk.

    Returns what such jobs would cost together and when the last would probably be finished, without submitting them.
    The time comes from the cost units of the jobs that each model finished last.
    """
    services = get_services()
    parts = defaultdict[str, list[tuple[ModelCard, JobSpec, int]]](list)
    for kind in body.jobs:
        fields = kind.model_dump(exclude={"count"}, exclude_none=True)
        fields |= placeholders(services.catalogue.get(kind.model).control)
        card, spec = services.catalogue.resolve(JobRequest(prompt=ANY_PROMPT, **fields))
        parts[card.name].append((card, spec, kind.count))
    with services.database.read() as session:
        return estimate_bulk(session, services.hints.redis, parts, tenant_id(), body.priority)
