"""How workers serve a model, as far as their reports say."""

from __future__ import annotations

from pydantic import BaseModel, Field


class ServingView(BaseModel):
    """How the running workers serve a model."""

    workers: int = Field(description="How many have loaded it.")
    per_image: list[str] = Field(
        default=[], description="The calls of its pipeline that are made for one image at a time, if any."
    )
    left_out: str | None = Field(
        default=None, description="If workers run and none has loaded it: the error's code. Their logs have the reason."
    )
