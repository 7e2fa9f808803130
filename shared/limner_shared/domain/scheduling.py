"""When a job may start: the time that its client asks for, and the delay before a retry. No I/O."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, BeforeValidator

from limner_shared.domain.durations import DAY_SECONDS

RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
MAX_AHEAD_SECONDS: Final = 30 * DAY_SECONDS
"""How far ahead a job may be scheduled: as long as `expires_in` may be, and shorter than any retention in use."""

BACKOFF_BASE_SECONDS: Final = 2.0
"""The longest delay before the first retry: a dropped connection or a restarted proxy is back within seconds."""
BACKOFF_FACTOR: Final = 3.0
"""With it five retries cover up to four minutes, which is about how long a store or a worker takes to be replaced."""
BACKOFF_CAP_SECONDS: Final = 300.0
"""The longest delay before any retry: after an outage of any length a job is tried again within five minutes."""


def _rfc_3339(value: Any) -> Any:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not RFC_3339.fullmatch(value.upper()):
        raise ValueError("must be a time with its offset as in RFC 3339, such as 2026-12-24T18:00:00Z")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_rfc_3339)]
"""A time with its offset from UTC, as RFC 3339 writes it."""


def backoff_seconds(retries: int, fraction: float) -> float:
    """The delay before the next retry of a job that was retried `retries` times: exponential backoff with full jitter.

    `fraction` is uniform in [0, 1): jobs that failed together are spread over the whole delay, which loads a recovering
    store least (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    """
    exponent = min(retries, 64)  # beyond this the cap applies for any base, and the power could overflow
    return fraction * min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * BACKOFF_FACTOR**exponent)
