"""Health of the database and Redis, checked on separate connections with short time limits, at most once a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from redis import Redis
from redis.exceptions import RedisError, ResponseError
from sqlalchemy import Engine, NullPool, QueuePool, create_engine
from sqlalchemy.exc import SQLAlchemyError

from limner_shared.db import pause_queries
from limner_shared.db.engine import Database
from limner_shared.db.postgresql_engine import parse, probe_engine
from limner_shared.db.schema import standing
from limner_shared.domain.pauses import Paused
from limner_shared.messaging.redis_servers import RedisRefuses
from limner_shared.messaging.reports import STORE, DispatcherReport, WorkerReport, read_reports
from limner_shared.settings import Settings
from limner_web.serving import cooperative

FRESH_SECONDS: Final = 1.0
STEP_SECONDS: Final = 2
"""How long opening a connection, a statement or a wait for a lock may take in a check of the database."""
FULL: Final = "full"
"""The state of a database whose disk is full: it can be read."""
WRITTEN: Final = "limner:health"
"""The key that is written to see whether Redis takes writes. With a full disk or memory it takes none."""


@dataclass(frozen=True, slots=True)
class Health:
    """The state of the database and Redis, `ok` or what is wrong, such as FULL; the other processes' reports; what is
    paused.
    """

    database: str
    redis: str
    dispatchers: Sequence[DispatcherReport] = ()
    workers: Sequence[WorkerReport] = ()
    paused: Paused = field(default_factory=Paused)
    store_trouble: str = ""
    """Why the picture store failed lately in this process; empty if it did not."""

    @property
    def store(self) -> str:
        """The state of the picture store, as the workers and this process find it: `ok` or `failing`."""
        return "failing" if self.store_trouble or any(STORE in report.closed for report in self.workers) else "ok"

    @property
    def store_reasons(self) -> list[str]:
        """Why the picture store fails."""
        found = {report.store for report in self.workers if STORE in report.closed} | {self.store_trouble}
        return sorted(found - {""})


class Probe:
    """Checks the database and Redis. It works even while requests hold all connections of the pool."""

    def __init__(self, settings: Settings, redis: Redis, database: Database, store_trouble: Callable[[], str]) -> None:
        """`database` is the one that requests use; `store_trouble` tells why the picture store failed lately in this
        process.
        """
        self._store_trouble = store_trouble
        self._url = settings.resolved_database_url
        self._redis = redis
        self._of_requests = database
        self._database = Database(_engine(self._url))
        self._lock = threading.Lock()
        self._health = Health("unknown", "unknown")
        self._checked_at = float("-inf")

    def check(self) -> Health:
        """Return a result that is at most FRESH_SECONDS old."""
        with self._lock:
            if time.monotonic() - self._checked_at > FRESH_SECONDS:
                found = self._with_full(self._check_redis(self._check_database()))
                self._health = replace(found, store_trouble=self._store_trouble())
                self._checked_at = time.monotonic()
            return self._health

    def _check_database(self) -> Health:
        began = time.monotonic()
        try:
            return self._state_of(self._database)
        except SQLAlchemyError:
            refused_at_once = time.monotonic() - began < STEP_SECONDS
        # A server without a free connection refuses this one, and requests are served all the same. One that does not
        # answer is not asked again: the connections of requests have longer time limits.
        if not refused_at_once or not _has_idle_connection(self._of_requests.engine):
            return Health("away", "unknown")
        try:
            return self._state_of(self._of_requests)
        except SQLAlchemyError:
            return Health("away", "unknown")

    def _state_of(self, database: Database) -> Health:
        found = standing(database, self._url)
        if found != "current":
            advice = "not migrated: run `limner db upgrade`" if found == "older" else "migrated by a newer version"
            return Health(advice, "unknown")
        with database.read() as session:
            return Health("ok", "unknown", paused=pause_queries.paused(session))

    def _with_full(self, health: Health) -> Health:
        full = self._of_requests.is_full or any(
            report.database_full for report in (*health.dispatchers, *health.workers)
        )
        return replace(health, database=FULL) if full and health.database == "ok" else health

    def _check_redis(self, health: Health) -> Health:
        try:
            dispatchers = read_reports(self._redis, DispatcherReport)
            workers = read_reports(self._redis, WorkerReport)
        except RedisError:
            return replace(health, redis="away")
        found = replace(health, redis="ok", dispatchers=dispatchers, workers=workers)
        try:
            self._redis.set(WRITTEN, 1, ex=60)
        except (RedisRefuses, ResponseError):
            return replace(found, redis="refuses writes")
        except RedisError:
            return replace(found, redis="away")
        return found


def _has_idle_connection(engine: Engine) -> bool:
    return isinstance(engine.pool, QueuePool) and engine.dialect.name != "sqlite" and engine.pool.checkedin() > 0


def _engine(url: str) -> Engine:
    parsed = parse(url)
    if parsed.drivername != "sqlite":
        return probe_engine(parsed, STEP_SECONDS)
    engine = create_engine(parsed, poolclass=NullPool, connect_args={"timeout": STEP_SECONDS})
    cooperative.install(engine)
    return engine
