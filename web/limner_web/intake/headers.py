"""The headers of a request that creates something."""

from __future__ import annotations

from pydantic import BaseModel, Field


class CreateHeaders(BaseModel):
    """What a request that makes something may say of itself."""

    idempotency_key: str | None = Field(
        default=None,
        min_length=1,
        max_length=255,
        description="Any text of yours: the same request with the same key within 24 hours makes nothing new.",
    )


class JobHeaders(CreateHeaders):
    """The same of a single job, and what clients made by Stainless say, the openai package among them."""

    x_stainless_retry_count: int | None = Field(
        default=None,
        ge=0,
        description="Above 0: a retry. Without a key it gets the job that the same request made a short while ago.",
    )
