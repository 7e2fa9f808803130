"""The dispatcher process: release, repair, retention and webhooks run on separate threads, so that none delays the
others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Final

from celery import Celery
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from sqlalchemy.exc import DBAPIError

from limner_dispatcher.blob_sweep import BlobSweep
from limner_dispatcher.hint_waiter import HintWaiter
from limner_dispatcher.item_runner import ItemRunner
from limner_dispatcher.leadership import Leadership, NotLeading
from limner_dispatcher.lost_drains import LostDrains
from limner_dispatcher.release import Releaser
from limner_dispatcher.repair import Repairs
from limner_dispatcher.retention import Retention
from limner_dispatcher.statistics import QueueStatistics
from limner_dispatcher.webhooks.deliveries import DUTY as WEBHOOK_DUTY
from limner_dispatcher.webhooks.deliveries import Deliveries
from limner_shared import metrics
from limner_shared.db.engine import DATABASE_AWAY, Database, describe, is_away
from limner_shared.db.notifications import WaitingListener
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.ids import new_owner
from limner_shared.messaging import reports
from limner_shared.messaging.celery_app import make_celery
from limner_shared.messaging.hints import DELIVERIES_CHANNEL, Hints, connect
from limner_shared.messaging.redis_queues import RedisQueues
from limner_shared.metrics.exposition import start_at_zero
from limner_shared.operator_port import serve_metrics
from limner_shared.process_end import end_process
from limner_shared.python_gc import collect_and_freeze
from limner_shared.settings import Settings
from limner_shared.storage.blobs import Blobs
from limner_shared.telemetry import get_logger
from limner_shared.threads import Supervisor

log = get_logger(__name__)

RELEASE_DUTY: Final = "dispatch"  # stored in the table `leaders`; 0.1.0 uses the same names, so keep them
REPAIR_DUTY: Final = "repair"
RETENTION_DUTY: Final = "clean"
DUTIES: Final = (RELEASE_DUTY, REPAIR_DUTY, RETENTION_DUTY, WEBHOOK_DUTY)
RETENTION_LEAD_SECONDS: Final = 180.0
"""Longer than the interval between two passes of retention."""
SHORTEST_PAUSE: Final = 0.02
"""The shortest pause between two rounds, for any rate of claims."""
RETENTION_PAUSE: Final = 1.0
"""The longest pause between two passes of retention."""
HINT_SECONDS: Final = 5.0
"""How long one wait for a hint of webhooks lasts."""
WATCH_SECONDS: Final = 1.0
STALLED_SECONDS: Final = 60.0
"""The limit of one item of release or repair: a few statements, each of which the database ends after half of this
time."""
RETENTION_STALLED_SECONDS: Final = 900.0
"""The limit of the work of retention between two calls of the picture store, which have their own time limits."""
STOP_SECONDS: Final = 10.0


class Dispatcher:
    """The threads, and the state that they share: the database, and the record of failing items."""

    def __init__(
        self, settings: Settings, catalogue: Catalogue, database: Database, redis: Redis, celery: Celery
    ) -> None:
        """`redis` must return bytes, so that any content of a list or channel can be read."""
        self.owner = new_owner()
        self._settings, self._database, self._redis = settings, database, redis
        self._release_hints = HintWaiter(redis)
        self._supervisor = Supervisor(end_process)
        # A web process that cannot reach Redis notifies through PostgreSQL; the hint ends this process's wait.
        self._notifications = WaitingListener(database, self._supervisor, Hints(redis).jobs_wait)
        self.runner = ItemRunner(ends_pass, before_each=self._supervisor.working)
        self._leads = {duty: Leadership(database, duty, self.owner) for duty in DUTIES}
        self._releaser = Releaser(
            settings, catalogue, self._leads[RELEASE_DUTY], RedisQueues(redis), celery, self.runner
        )
        lead, models = self._leads[REPAIR_DUTY], list(catalogue.cards)
        self._repairs = Repairs(database, lead, Hints(redis), models, settings.max_solo_losses, self.runner)
        self._lost_drains = LostDrains(database, self._leads[REPAIR_DUTY], redis)
        self._deliveries = Deliveries(
            settings, database, self._leads[WEBHOOK_DUTY], self.runner, self._supervisor, catalogue
        )
        self._delivery_hints = HintWaiter(redis, DELIVERIES_CHANNEL)
        blobs = Blobs(settings.resolved_blob_url, self._supervisor.working)
        self._retention = Retention(
            database,
            blobs,
            input_retention_days=settings.input_retention_days,
            webhook_log_days=settings.webhook_log_days,
            runner=self.runner,
        )
        self._sweep = BlobSweep(database, blobs)
        release_lead = self._leads[RELEASE_DUTY]
        self._statistics = QueueStatistics(database, models, lambda: release_lead.leads, redis)
        self._metrics_address = ""
        self._stopping = threading.Event()

    def run(self, stopping: threading.Event) -> None:
        """Run until `stopping` is set. Outages of the database, Redis or the picture store do not end it; a thread that
        fails or stalls ends the process.
        """
        log.info("dispatcher ready")
        self._metrics_address = serve_metrics(self._settings, self._supervisor)
        self._stopping = stopping
        threads = [
            self._start("release", self.release, partial(self._release_hints.wait, stopping=stopping)),
            self._start("repair", self.repair, stopping.wait),
            self._start("retention", self.retain, stopping.wait, RETENTION_STALLED_SECONDS),
            self._start("webhooks", self.deliver, self._deliveries.wait),
            self._start("webhook hints", lambda: HINT_SECONDS, self._wait_for_delivery_hint),
            self._start("statistics", self.measure, stopping.wait),
        ]
        self._notifications.start()
        collect_and_freeze()
        while not stopping.wait(WATCH_SECONDS):
            for name, seconds in self._supervisor.stalled().items():
                end_process(name, TimeoutError(f"no progress for {seconds:.0f} s"))
            self._report()
        self._notifications.stop()
        self._deliveries.wake.set()  # its duty waits for this event, and not for `stopping`
        for thread in threads:
            thread.join(STOP_SECONDS)
        self._deliveries.close()
        self._report(ended=True)

    # --- one round of each thread; returns the longest pause before the next one, in seconds ---

    def release(self) -> float:
        """Release as many jobs as there is room for. Raises NotLeading, and the errors of an unavailable database or
        Redis.
        """
        with _leader_round(RELEASE_DUTY):
            return max(SHORTEST_PAUSE, self._releaser.round())

    def repair(self) -> float:
        """Requeue lost jobs and fail overdue ones. Raises NotLeading, and the errors of an unavailable database."""
        try:
            with _leader_round(REPAIR_DUTY):
                self._repairs.round()
                self.runner.run("lost drains", self._lost_drains.end_lost_drains)
        except Exception as error:
            if is_away(error):
                self._repairs.outage()
            raise
        return self._settings.dispatch_seconds

    def retain(self) -> float:
        """Delete what is past its retention, a few rows of each table. Raises NotLeading, and the errors of an
        unavailable database.
        """
        begun = time.monotonic()
        if self._retention.is_due or self._sweep.is_due:
            try:
                with self._leads[RETENTION_DUTY].write(RETENTION_LEAD_SECONDS):
                    pass
            except DBAPIError as error:
                self._retention.reserve.release_for(error)
                raise
            with _leader_round(RETENTION_DUTY):
                self.runner.run("retention", self._retention.run)
                if self._sweep.is_due:  # not in each pass: it lists the store
                    self.runner.run("set aside blobs", self._sweep.finish_deletions)
                    self.runner.run("unreferenced blobs", self._sweep.mark_unreferenced)
        if not self._retention.has_more:
            return RETENTION_PAUSE
        # Retention works at most half of the time, so that the database serves the other duties as well.
        return min(max(SHORTEST_PAUSE, time.monotonic() - begun), RETENTION_PAUSE)

    def deliver(self) -> float:
        """Send due webhooks. Raises NotLeading, and the errors of an unavailable database."""
        return self._deliveries.round()

    def _wait_for_delivery_hint(self, seconds: float) -> None:
        """Wait for a hint of new deliveries, at most `seconds`."""
        if self._delivery_hints.wait(seconds, self._stopping):
            self._deliveries.wake.set()

    def measure(self) -> float:
        """Measure the queues if this dispatcher leads. Raises the errors of an unavailable database."""
        return self._statistics.measure()

    # --- the threads ---

    def _start(
        self,
        name: str,
        work: Callable[[], float],
        wait: Callable[[float], object],
        limit_seconds: float = STALLED_SECONDS,
    ) -> threading.Thread:
        return self._supervisor.start(name, partial(self._forever, name, work, wait), limit_seconds=limit_seconds)

    def _forever(self, name: str, work: Callable[[], float], wait: Callable[[float], object]) -> None:
        last_error: str | None = None
        while not self._stopping.is_set():
            self._supervisor.working()
            pause = self._settings.dispatch_seconds
            try:
                pause, last_error = work(), None
            except NotLeading:
                self.runner.stand_by()
                last_error = None
            except Exception as error:
                if not (ends_pass(error) or isinstance(error, DATABASE_AWAY)):
                    raise
                if last_error != type(error).__name__:  # log it once, not twice a second
                    log.warning("database or Redis away, trying again", thread=name, error=describe(error))
                last_error = type(error).__name__
            self._supervisor.idle()
            wait(pause)

    def _report(self, *, ended: bool = False) -> None:
        failing = self.runner.failing_items()
        metrics.DISPATCHER_FAILING_ITEMS.set(len(failing))
        report = reports.DispatcherReport(
            owner=self.owner,
            leads=[duty for duty, leadership in self._leads.items() if leadership.leads],
            finished=self.runner.finished(),
            failures=self.runner.failures(),
            set_aside=failing[: reports.MOST_FAILING_ITEMS],
            set_aside_count=len(failing),
            database_full=self._database.is_full,
            threads=self._supervisor.activity(),
            metrics=self._metrics_address,
        )
        try:
            if ended:
                reports.delete_report(self._redis, reports.DispatcherReport, self.owner)
            else:
                reports.write_report(self._redis, report)
        except RedisError:
            return  # the release thread logs an outage of Redis


@contextmanager
def _leader_round(duty: str) -> Generator[None]:
    """Measure a round, unless another dispatcher leads."""
    started = time.perf_counter()
    yield
    metrics.DISPATCHER_ROUND_SECONDS.observe(time.perf_counter() - started, duty=duty)


def ends_pass(error: Exception) -> bool:
    """Whether an error affects all items rather than one; then the rest of the pass is skipped."""
    return is_away(error) or isinstance(
        error, (NotLeading, OperationalError, RedisConnectionError, RedisTimeoutError, OSError)
    )


def run_dispatcher(settings: Settings, stopping: threading.Event) -> None:
    """Build a dispatcher from the settings and run it until `stopping` is set."""
    catalogue = Catalogue.load(settings.models, settings.default_model)
    database = Database.of(settings)
    start_at_zero(catalogue.cards)
    try:
        redis, celery = connect(settings.redis_url, decode_responses=False), make_celery(settings)
        Dispatcher(settings, catalogue, database, redis, celery).run(stopping)
    finally:
        database.dispose()
