"""Reports in Redis where this web server's metrics are, for `/metrics/targets` of every web server."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Final

from redis import Redis
from redis.exceptions import RedisError

from limner_shared.messaging.reports import WEB_TTL_SECONDS, WebReport, write_report
from limner_shared.threads import Supervisor
from limner_web.serving.stalls import UNIT_SECONDS

EVERY_SECONDS: Final = WEB_TTL_SECONDS / 3


class OwnReport:
    """Each process of the server writes the same report, which expires when the last one has ended."""

    def __init__(self, redis: Redis, supervisor: Supervisor, address: str) -> None:
        """`address` is that of the operator's port."""
        self._redis = redis
        self._supervisor = supervisor
        self._report = WebReport(owner=address, metrics=address)

    def start(self) -> None:
        """Start the thread. To be called in the process that serves, after a fork."""
        self._supervisor.start("own report", self._run, limit_seconds=UNIT_SECONDS)

    def _run(self) -> None:
        while True:
            self._supervisor.working()
            with suppress(RedisError):  # `/readyz` says that it is away
                write_report(self._redis, self._report)
            self._supervisor.idle()
            time.sleep(EVERY_SECONDS)
