"""When a requested job may start, and how often it is retried."""

from __future__ import annotations

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.durations import DAY_SECONDS
from limner_shared.domain.jobs import JobRequest
from limner_shared.domain.request_limits import refuse
from limner_shared.domain.scheduling import MAX_AHEAD_SECONDS


def start_time(request: JobRequest, now: float) -> float | None:
    """The request's `not_before` in seconds since 1970, or None.

    `now` is this process's time and serves these checks only; the database's clock decides when the job starts. Raises
    InvalidRequest for a time too far ahead, or after the job has expired.
    """
    if request.not_before is None:
        return None
    start = request.not_before.timestamp()
    if start > now + MAX_AHEAD_SECONDS:
        raise refuse("not_before", "this time", f"at most {MAX_AHEAD_SECONDS // DAY_SECONDS} days ahead")
    if request.expires_in is not None and start >= now + request.expires_in:
        raise refuse("expires_in", f"{request.expires_in:g} s", "more seconds than there are until not_before")
    return start


def retry_limit(card: ModelCard, request: JobRequest) -> int:
    """How often the job is retried at most. Raises InvalidRequest if the request asks for more than the card allows."""
    limits = card.max_retries
    if request.max_retries is None:
        return int(limits.default)
    if not limits.min <= request.max_retries <= limits.max:
        raise refuse("max_retries", str(request.max_retries), f"{limits.min:g} to {limits.max:g}")
    return request.max_retries
