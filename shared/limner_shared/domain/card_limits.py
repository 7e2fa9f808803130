"""The bounds of a card's own limits: a slip of the pen must not take all memory or hours. No I/O."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from limner_shared.domain.card_fields import Range

MAX_STEPS: Final = 10_000
Side = Annotated[int, Field(ge=1, le=65_536)]
"""Pixels along one side of a picture."""
BatchSize = Annotated[int, Field(ge=1, le=4096)]
"""Rows of one call of a model, which is padded to it."""


class StepRange(Range):
    """Inclusive bounds of the number of steps, and the default. Schedules are computed for the bounds at load."""

    min: float = Field(ge=1, allow_inf_nan=False)
    max: float = Field(le=MAX_STEPS, allow_inf_nan=False)
