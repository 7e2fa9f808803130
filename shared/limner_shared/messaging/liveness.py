"""Dispatcher reports in Redis: which dispatcher is the leader, when each duty last ran, and which items are set
aside.
"""

from __future__ import annotations

from typing import Any, Final, cast

from pydantic import BaseModel, ConfigDict, ValidationError
from redis import Redis

DISPATCHERS: Final = "limner:dispatcher:"
TTL_SECONDS: Final = 15
"""A dispatcher writes every second; its report expires when it is gone."""
MOST_SET_ASIDE: Final = 50
"""At most this many items are listed; the count covers all of them."""


class SetAside(BaseModel):
    """An item of a duty that failed and waits for its retry."""

    model_config = ConfigDict(frozen=True)

    duty: str
    item: str
    error: str
    """The error's class."""
    failures: int
    """Consecutive failures."""
    retry_in: float
    """Seconds."""


class DispatcherReport(BaseModel):
    """The report of one dispatcher. Times are seconds before it was written."""

    model_config = ConfigDict(frozen=True)

    owner: str
    leads: list[str]
    """The duties for which it is the leader."""
    finished: dict[str, float]
    """Time since the last pass over a duty's items ended, by duty."""
    failures: dict[str, int]
    """Failures since its start, by duty."""
    set_aside: list[SetAside]
    """At most MOST_SET_ASIDE of them."""
    set_aside_count: int
    threads: dict[str, float | None]
    """Seconds that each thread has spent on its current unit of work; None while it waits."""

    def slow_threads(self, seconds: float) -> list[str]:
        """The threads that have worked on one unit for longer than this."""
        return sorted(name for name, busy in self.threads.items() if busy is not None and busy > seconds)


def write_report(redis: Redis, report: DispatcherReport) -> None:
    """Write a dispatcher's report. Raises RedisError."""
    redis.set(DISPATCHERS + report.owner, report.model_dump_json(), ex=TTL_SECONDS)


def withdraw_report(redis: Redis, owner: str) -> None:
    """Delete the report of a dispatcher that has ended. Raises RedisError."""
    redis.delete(DISPATCHERS + owner)


def read_reports(redis: Redis) -> list[DispatcherReport]:
    """The reports of all live dispatchers; unreadable ones are left out. Raises RedisError."""
    keys: list[Any] = sorted(redis.scan_iter(match=DISPATCHERS + "*", count=1000))
    values = cast("list[Any]", redis.mget(keys)) if keys else []
    reports: list[DispatcherReport] = []
    for value in values:
        try:
            reports.append(DispatcherReport.model_validate_json(value or ""))
        except ValidationError:  # it ended in the meantime, or has another version
            continue
    return reports
