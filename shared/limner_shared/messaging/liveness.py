"""What the dispatchers say of themselves, in Redis: who leads, what was done when, and what is set aside."""

from __future__ import annotations

from typing import Any, Final, cast

from pydantic import BaseModel, ConfigDict, ValidationError
from redis import Redis

DISPATCHERS: Final = "limner:dispatcher:"
TTL_SECONDS: Final = 15
"""A dispatcher writes every few seconds; the report of one that is gone ends."""
MOST_SET_ASIDE: Final = 50
"""So many items are named; their number is told whatever it is."""


class SetAside(BaseModel):
    """An item of a duty that failed and waits to be tried again."""

    model_config = ConfigDict(frozen=True)

    duty: str
    item: str
    error: str
    """The error's class."""
    failures: int
    """How often it failed one time after another."""
    retry_in: float
    """Seconds."""


class DispatcherReport(BaseModel):
    """One dispatcher, as it saw itself when it wrote; times are in seconds before that."""

    model_config = ConfigDict(frozen=True)

    owner: str
    leads: list[str]
    """The duties for which it is the active one."""
    finished: dict[str, float]
    """When the last pass over a duty's items ended."""
    failures: dict[str, int]
    """How many items failed since it started, by duty."""
    set_aside: list[SetAside]
    """At most MOST_SET_ASIDE of them."""
    set_aside_count: int
    threads: dict[str, float | None]
    """For how long each thread is at its present unit of work; None while it waits."""

    def slow_threads(self, seconds: float) -> list[str]:
        """The threads that are at one unit of work for longer than that."""
        return sorted(name for name, busy in self.threads.items() if busy is not None and busy > seconds)


def write_report(redis: Redis, report: DispatcherReport) -> None:
    """Say how a dispatcher is. Raises RedisError."""
    redis.set(DISPATCHERS + report.owner, report.model_dump_json(), ex=TTL_SECONDS)


def withdraw_report(redis: Redis, owner: str) -> None:
    """This dispatcher has ended. Raises RedisError."""
    redis.delete(DISPATCHERS + owner)


def read_reports(redis: Redis) -> list[DispatcherReport]:
    """Every live dispatcher's report; one that cannot be read is left out. Raises RedisError."""
    keys: list[Any] = sorted(redis.scan_iter(match=DISPATCHERS + "*", count=1000))
    values = cast("list[Any]", redis.mget(keys)) if keys else []
    reports: list[DispatcherReport] = []
    for value in values:
        try:
            reports.append(DispatcherReport.model_validate_json(value or ""))
        except ValidationError:  # it ended meanwhile, or is of another version
            continue
    return reports
