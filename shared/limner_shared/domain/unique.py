"""Unique jobs: the key that at most one unfinished job may hold. No I/O."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from limner_shared.domain.durations import DAY_SECONDS

MAX_SECONDS: Final = 30 * DAY_SECONDS


class Unique(BaseModel):
    """At most one job with this key at a time: a request meanwhile is answered with the job that holds the key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: Annotated[str, StringConstraints(min_length=1, max_length=255)] = Field(
        description="Your name for the work, such as `cover of article 17`."
    )
    scope: Literal["tenant", "model"] = Field(
        default="tenant", description="`tenant`: the key counts for all your jobs. `model`: for each model by itself."
    )
    seconds: float | None = Field(
        default=None,
        gt=0,
        le=MAX_SECONDS,
        allow_inf_nan=False,
        description="If the job succeeds, hold the key for at least this time from the request, in seconds. Default: "
        "until the job ends.",
    )
