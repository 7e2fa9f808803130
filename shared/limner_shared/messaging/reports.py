"""Reports of web servers, dispatchers and workers in Redis, for `/readyz`, `limner doctor` and monitoring. A process
writes its own every few seconds, and it expires when the process is gone.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError
from redis import Redis

from limner_shared.domain.unsupported import UnsupportedByModel
from limner_shared.messaging.typed_redis import keys_like
from limner_shared.threads import slow_threads

DISPATCHERS: Final = "limner:dispatcher:"
WORKERS: Final = "limner:worker:"
WEB_SERVERS: Final = "limner:web:"
WEB_TTL_SECONDS: Final = 15
DISPATCHER_TTL_SECONDS: Final = 15
WORKER_TTL_SECONDS: Final = 30
"""A worker renews its report with its leases, and so less often while the database is away."""
SLOW_SECONDS: Final = 30.0
"""A dispatcher's thread that works on one item for longer than this is reported as stalled."""
STORE: Final = "store"
"""The name of the picture store among what a worker's circuit breakers keep it from."""
MODERATION: Final = "moderation"
"""The name of the moderation service there."""
MOST_FAILING_ITEMS: Final = 50
"""At most this many items are listed; the count covers all of them."""


class FailingItem(BaseModel):
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
    set_aside: list[FailingItem]
    """At most MOST_FAILING_ITEMS of them."""
    set_aside_count: int
    database_full: bool = False
    """Whether its last write failed because the disk of the database is full."""
    threads: dict[str, float | None]
    """Seconds that each thread has spent on its current unit of work; None while it waits."""
    metrics: str = ""
    """The address of its metrics, such as `127.0.0.1:9100`; empty if it serves none."""

    def slow_threads(self, seconds: float) -> list[str]:
        """The threads that have worked on one unit for longer than this."""
        return slow_threads(self.threads, seconds)


class WorkerReport(BaseModel):
    """The report of one worker."""

    model_config = ConfigDict(frozen=True)

    owner: str
    models: list[str]
    """The models it serves."""
    device: str
    held: int
    """Jobs between claim and commit."""
    closed: list[str]
    """What an open circuit breaker keeps it from: names of models, STORE or MODERATION."""
    store: str = ""
    """Why it cannot use the picture store, if it cannot: a `StorageReason`."""
    database_full: bool = False
    """Whether its last write failed because the disk of the database is full."""
    stalled: list[str]
    """Threads that exceed the time limit of one unit of work."""
    memory_used: int = 0
    """Bytes of the device that it has allocated; 0 if they are not known."""
    memory_total: int = 0
    """Bytes of the device."""
    metrics: str = ""
    """The address of its metrics, such as `127.0.0.1:9100`; empty if it serves none."""
    draining: bool = False
    """Whether it takes no new jobs, by an order or because it ends."""

    unsupported: dict[str, UnsupportedByModel] = {}
    """What each of its models does not take of requests."""
    per_image: dict[str, list[str]] = {}
    """The calls of each of its models that are made for one image at a time, of models that have such calls."""
    left_out: dict[str, str] = {}
    """The codes of the errors for which it does not serve models that it should."""

    def takes(self, model: str) -> bool:
        """Whether it takes jobs of a model now."""
        return model in self.models and model not in self.closed and not self.draining


class WebReport(BaseModel):
    """The report of one web server, which all of its processes write."""

    model_config = ConfigDict(frozen=True)

    owner: str
    metrics: str
    """The address of its operator's port, such as `127.0.0.1:9100`."""


Report = DispatcherReport | WorkerReport | WebReport
SomeReport = TypeVar("SomeReport", DispatcherReport, WorkerReport, WebReport)
KINDS: Final[dict[type[Report], tuple[str, int]]] = {
    DispatcherReport: (DISPATCHERS, DISPATCHER_TTL_SECONDS),
    WorkerReport: (WORKERS, WORKER_TTL_SECONDS),
    WebReport: (WEB_SERVERS, WEB_TTL_SECONDS),
}
"""The beginning of each kind's keys, and how long a report lasts, in seconds."""


def write_report(redis: Redis, report: Report) -> None:
    """Write a process's report. Raises RedisError."""
    prefix, seconds = KINDS[type(report)]
    redis.set(prefix + report.owner, report.model_dump_json(), ex=seconds)


def delete_report(redis: Redis, kind: type[Report], owner: str) -> None:
    """Delete the report of a process that ends. Raises RedisError."""
    redis.delete(KINDS[kind][0] + owner)


def read_reports(redis: Redis, kind: type[SomeReport]) -> list[SomeReport]:
    """The reports of all live processes of a kind; unreadable ones are left out. Raises RedisError."""
    keys = sorted(keys_like(redis, KINDS[kind][0] + "*"))
    values = cast("list[Any]", redis.mget(keys)) if keys else []
    reports: list[SomeReport] = []
    for value in values:
        try:
            reports.append(kind.model_validate_json(value or ""))
        except ValidationError:  # it ended in the meantime, or has another version
            continue
    return reports
