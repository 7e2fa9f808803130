"""Renews the leases of all held attempts in one statement, and reports attempts that are lost or canceled."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from limner_shared.db import ledger
from limner_shared.db.engine import Database, describe
from limner_shared.domain.ids import new_owner
from limner_shared.messaging.hints import CANCEL_CHANNEL
from limner_shared.messaging.reports import WorkerReport, delete_report, write_report
from limner_shared.messaging.typed_redis import subscription
from limner_shared.settings import Settings
from limner_shared.telemetry import get_logger, job_ids
from limner_shared.threads import Supervisor
from limner_worker.engine.job_run import JobRun
from limner_worker.runtime.held_jobs import HeldJobs

log = get_logger(__name__)

RETRY_SECONDS: Final = 0.5
"""Interval of renewal attempts while the database is away: after an outage every second counts."""
UNIT_SECONDS: Final = 300.0
"""A renewal that lasts longer than this is stalled; the database's own time limits end it long before."""


class Leases:
    """Renews the leases of held attempts. Calls `abort`, on its own threads, with attempts that must not go on."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        redis: Redis,
        held: HeldJobs,
        supervisor: Supervisor,
        abort: Callable[[Sequence[JobRun]], None],
        report: Callable[[str], WorkerReport],
    ) -> None:
        """`report` returns the worker's report for its owner name."""
        self.owner = new_owner()
        self._settings = settings
        self._database = database
        self._redis = redis
        self._held = held
        self._supervisor = supervisor
        self._abort = abort
        self._report = report
        self.redis_is_away = False
        """Whether the last write to Redis failed."""
        self._stopping = threading.Event()
        self._running_threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start to renew leases and to listen for cancellations."""
        self._running_threads = [
            self._supervisor.start("heartbeat", self._heartbeats, limit_seconds=UNIT_SECONDS),
            self._supervisor.start("cancel-listener", self._listen),
        ]

    def stop(self) -> None:
        """Stop the renewal, and delete the worker's entry from Redis."""
        self._stopping.set()
        for thread in self._running_threads:
            thread.join()
        self._announce(present=False)

    def _heartbeats(self) -> None:
        pause = self._settings.heartbeat_seconds
        self._announce(present=True)
        while not self._stopping.wait(pause):
            self._supervisor.working()
            renewed = self._renew()
            self._announce(present=True)
            pause = self._settings.heartbeat_seconds if renewed else min(RETRY_SECONDS, pause)
            self._supervisor.idle()

    def _renew(self) -> bool:
        """Renew all leases; False if the database is away: then nothing is known, and nothing is aborted."""
        held = self._held.keys()
        if not held:
            return True
        try:
            with self._database.write() as session:
                renewed = ledger.renew(session, held, self._settings.lease_seconds)
        except SQLAlchemyError as error:
            log.warning("could not renew leases", jobs=job_ids(key.job_id for key in held), error=describe(error))
            return False
        # Attempts that finished meanwhile are not renewed either: only those that are still held lost their lease.
        lost = self._held.find(held - renewed)
        if lost:
            log.info("dropping attempts that are canceled or no longer current", jobs=job_ids(job.id for job in lost))
            self._abort(lost)
        return True

    def _listen(self) -> None:
        while not self._stopping.is_set():
            try:
                with subscription(self._redis) as pubsub:
                    pubsub.subscribe(CANCEL_CHANNEL)
                    while not self._stopping.is_set():
                        message = cast("dict[str, Any] | None", pubsub.get_message(timeout=0.5))
                        canceled = self._held.of_job(str(message["data"])) if message else []
                        if canceled:
                            self._abort(canceled)
            except (RedisError, OSError, ValueError):  # ValueError: the message is not text
                self._stopping.wait(1)  # the next renewal finds canceled jobs

    def _announce(self, *, present: bool) -> None:
        try:
            if present:
                write_report(self._redis, self._report(self.owner))
            else:
                delete_report(self._redis, WorkerReport, self.owner)
        except RedisError:
            self.redis_is_away = True
        else:
            self.redis_is_away = False
