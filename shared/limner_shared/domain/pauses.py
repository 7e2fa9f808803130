"""Pauses of a model's queue or of a tenant: what may be paused, and which jobs wait. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from limner_shared.domain.scheduling import Moment

MAX_REASON_CHARS: Final = 200
MAX_PAUSE_SECONDS: Final = 3_660 * 86_400.0


class PauseKind(StrEnum):
    """What a pause stops."""

    MODEL = "model"
    TENANT = "tenant"


Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_REASON_CHARS)]


class PauseRequest(BaseModel):
    """What to pause, why, and until when."""

    model_config = ConfigDict(extra="forbid")

    model: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = Field(
        default=None, description="The name of a model. Either `model` or `tenant` is required."
    )
    tenant: Annotated[str, StringConstraints(min_length=1, max_length=100)] | None = Field(
        default=None, description="The name of a tenant."
    )
    reason: Reason | None = Field(default=None, description="Shown to the tenants whose jobs wait.")
    until: Moment | None = Field(default=None, description="When the pause ends by itself. Default: never.")

    @model_validator(mode="after")
    def _one_subject(self) -> Self:
        if (self.model is None) == (self.tenant is None):
            raise ValueError("give either `model` or `tenant`")
        return self


@dataclass(frozen=True, slots=True)
class Paused:
    """Everything that is paused now: names of models and ids of tenants."""

    models: frozenset[str] = frozenset()
    tenants: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.models or self.tenants)

    def holds(self, model: str, tenant_id: str) -> bool:
        """Whether queued jobs of this model and tenant wait."""
        return model in self.models or tenant_id in self.tenants
