"""The headers of requests that create something."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, Field
from werkzeug.datastructures import Headers


class JobHeaders(BaseModel):
    """The headers of a request that creates a resource."""

    idempotency_key: str | None = Field(
        default=None,
        min_length=1,
        max_length=255,
        description="A unique string of your choice. Repeating the same request with the same key within 24 hours "
        "returns the first result and creates nothing.",
    )
    # Sent by clients that Stainless generates, the openai package among them.
    x_stainless_retry_count: int | None = Field(
        default=None,
        ge=0,
        description="The number of this try, 0 for the first. Without an idempotency key, a retry returns the "
        "result of an equal request within the last two minutes.",
    )

    @classmethod
    def read(cls, headers: Headers) -> Self:
        """The headers of a request whose route does not declare them. Raises ValidationError."""
        return cls.model_validate({name: headers.get(name.replace("_", "-")) for name in cls.model_fields})
