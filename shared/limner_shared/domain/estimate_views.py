"""The API's response about a job that was not submitted."""

from __future__ import annotations

from pydantic import BaseModel, Field

from limner_shared.domain.views import EtaView, PauseNotice


class BulkEstimateView(BaseModel):
    """What the jobs of a bulk would cost, and when the last of them would be finished, if it were submitted now."""

    jobs: int
    cost: int = Field(description="Cost units of all of them.")
    cost_left: int | None = Field(description="Cost units that are left today, UTC; null without a daily limit.")
    workers: int | None = Field(
        description="Workers that serve the model with the fewest of them; null if Redis is unavailable."
    )
    paused: PauseNotice | None = Field(description="While one of the models or the tenant is paused.")
    eta: EtaView | None = Field(
        description="When the last would be finished, if the models take turns; null if that cannot be known: too few "
        "jobs of a model were finished within a day, no worker serves it, or it is paused."
    )


class EstimateView(BaseModel):
    """What a job would cost, and when it would be finished, if it were submitted now."""

    model: str
    cost: int = Field(description="Cost units: steps × tokens × images × candidates.")
    cost_left: int | None = Field(description="Cost units that are left today, UTC; null without a daily limit.")
    ahead: int = Field(description="Jobs that would be ahead of it; at most 1000.")
    workers: int | None = Field(description="Workers that serve its model; null if Redis is unavailable.")
    paused: PauseNotice | None = Field(description="While its model or its tenant is paused: it would wait.")
    alike: int = Field(description="The model's latest finished jobs of about its cost: those that were measured.")
    eta: EtaView | None = Field(
        description="When it would be finished; null if that cannot be known: too few such jobs were finished within a "
        "day, no worker serves the model, or it is paused."
    )
