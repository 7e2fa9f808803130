"""Pauses of a model, of a tenant (also by itself) or of a worker: what is paused, and which jobs wait. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from limner_shared.domain.durations import DAY_SECONDS
from limner_shared.domain.scheduling import Moment

MAX_REASON_CHARS: Final = 200
MAX_PAUSE_SECONDS: Final = 3_660 * DAY_SECONDS
DRAIN_SECONDS: Final = 30 * DAY_SECONDS
"""How long a worker drains at most: the row of one that was killed meanwhile goes then."""


class PauseKind(StrEnum):
    """What a pause stops."""

    MODEL = "model"
    TENANT = "tenant"
    OWN = "own"
    """A tenant, by itself: neither the operator's pause nor this one ends the other."""
    WORKER = "worker"
    """One process, which drains: it takes no new jobs, and hands back what it cannot finish soon."""


Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_REASON_CHARS)]


class PauseRequest(BaseModel):
    """What to pause, why, and until when."""

    model_config = ConfigDict(extra="forbid")

    model: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = Field(
        default=None, description="The name of a model. One of `model`, `tenant` and `worker` is required."
    )
    tenant: Annotated[str, StringConstraints(min_length=1, max_length=100)] | None = Field(
        default=None, description="The name of a tenant."
    )
    worker: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = Field(
        default=None, description="The id of a worker, which drains: it takes no new jobs."
    )
    reason: Reason | None = Field(default=None, description="Shown to the tenants whose jobs wait.")
    until: Moment | None = Field(
        default=None, description="When the pause ends by itself. Default: never; for a worker, after 30 days."
    )

    @model_validator(mode="after")
    def _one_subject(self) -> Self:
        if [self.model, self.tenant, self.worker].count(None) != 2:  # noqa: PLR2004 - all but one
            raise ValueError("give one of `model`, `tenant` and `worker`")
        return self


class OwnPauseRequest(BaseModel):
    """Why one's own queue is paused, and until when."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason | None = Field(default=None, description="Shown with the jobs that wait.")
    until: Moment | None = Field(default=None, description="When the pause ends by itself. Default: never.")


@dataclass(frozen=True, slots=True)
class Paused:
    """Everything that is paused now: names of models and ids of tenants."""

    models: frozenset[str] = frozenset()
    tenants: frozenset[str] = frozenset()
    """Also those that paused themselves."""
    by_operator: frozenset[str] = frozenset()
    """The tenants that the operator paused."""

    def __bool__(self) -> bool:
        """Whether anything is paused."""
        return bool(self.models or self.tenants)

    def holds(self, model: str, tenant_id: str) -> bool:
        """Whether queued jobs of this model and tenant wait."""
        return model in self.models or tenant_id in self.tenants
