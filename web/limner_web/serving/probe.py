"""What this process can reach: asked on connections of its own, within short times, at most once a second."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import SQLAlchemyError

from limner_shared.db.engine import Database, is_current
from limner_web.serving import cooperative

FRESH_SECONDS: Final = 1.0
CONNECT_SECONDS: Final = 2
TIME_LIMITS: Final[dict[str, dict[str, Any]]] = {
    # A new connection each time: a server that is frozen does not answer to it, and that is noticed in time.
    "postgresql": {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": CONNECT_SECONDS * 1000},
    "sqlite": {"timeout": CONNECT_SECONDS},
}


@dataclass(frozen=True, slots=True)
class Found:
    """How database and Redis are: `ok`, or what is wrong."""

    database: str
    redis: str


class Probe:
    """Asks for all who want to know at once; a request that holds every connection of the pool does not matter."""

    def __init__(self, database_url: str, redis: Redis) -> None:
        self._url = database_url
        self._redis = redis
        self._database = Database(database_url)
        engine = self._database.engine
        limits = TIME_LIMITS[engine.dialect.name]
        self._database.engine = create_engine(engine.url, poolclass=NullPool, connect_args=limits)
        cooperative.install(self._database.engine)
        self._lock = threading.Lock()
        self._found = Found("unknown", "unknown")
        self._at = float("-inf")

    def ask(self) -> Found:
        """What was found within the last second."""
        with self._lock:
            if time.monotonic() - self._at > FRESH_SECONDS:
                self._found = Found(self._ask_database(), self._ask_redis())
                self._at = time.monotonic()
            return self._found

    def _ask_database(self) -> str:
        try:
            migrated = is_current(self._database, self._url)
        except SQLAlchemyError:
            return "away"
        return "ok" if migrated else "not migrated: run `limner db upgrade`"

    def _ask_redis(self) -> str:
        try:
            self._redis.ping()
        except RedisError:
            return "away"
        return "ok"
