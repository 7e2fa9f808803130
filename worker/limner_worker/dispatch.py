"""The dispatcher: releases queued jobs into Redis within the window, takes back lost leases, drops unfinished bulks."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from celery import Celery
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError

from limner_shared import ledger
from limner_shared.cards import Catalogue
from limner_shared.celery_app import make_celery, publish, queue_keys
from limner_shared.database import Database
from limner_shared.events import Hints, connect
from limner_shared.ledger import Change
from limner_shared.settings import Settings
from limner_shared.telemetry import get_logger

log = get_logger(__name__)

FORGOTTEN_SECONDS = 5.0
"""Released so long ago and not claimed though the queue is empty: Redis, or a worker that died, has lost it."""
STALE_BULK_SECONDS = 60.0
"""A bulk is written in chunks of well under a second; one without news for so long has lost its web process."""
IDEMPOTENCY_SECONDS = 24 * 3600.0


class Dispatcher:
    """Does one round a tick. Any number may run: each write is conditional, so that they do not disturb each other."""

    def __init__(
        self, settings: Settings, models: Iterable[str], database: Database, redis: Redis, celery: Celery
    ) -> None:
        self._settings = settings
        self._models = list(models)
        self._database = database
        self._redis = redis
        self._celery = celery
        self._hints = Hints(redis)
        self._away = False

    def run(self, stopping: threading.Event) -> None:
        """Tick until told to stop; nothing that happens to the database or Redis ends it."""
        log.info("dispatcher ready")
        while not stopping.is_set():
            try:
                self.tick()
                self._away = False
            except (DBAPIError, OperationalError, RedisError, OSError) as error:
                if not self._away:  # say it once, not twice a second
                    log.warning("database or Redis away, trying again", error=str(error)[:200])
                self._away = True
            stopping.wait(self._settings.dispatch_seconds)

    def tick(self) -> None:
        """One round: reap, then release what each model's window has room for."""
        self._reap()
        for model in self._models:
            self._release(model)

    def _reap(self) -> None:
        with self._database.write() as session:
            changes: list[Change] = ledger.reap(session, self._settings.max_attempts)
            for bulk_id in ledger.stale_bulks(session, STALE_BULK_SECONDS):
                ledger.drop_bulk(session, bulk_id)
            ledger.forget_keys(session, IDEMPOTENCY_SECONDS)
        for change in changes:
            log.warning("lease lost", job=change.id, now=change.state.value)
        self._hints.changed(changes)

    def _release(self, model: str) -> None:
        queue_empty = not any(self._redis.llen(key) for key in queue_keys(model))  # raises where Redis is away
        with self._database.write() as session:
            released = ledger.release(session, model, self._settings.window)
            again = ledger.release_again(session, model, FORGOTTEN_SECONDS) if queue_empty else []
        if again:
            log.info("released again", model=model, jobs=len(again))
        if released or again:
            publish(self._celery, model, [*again, *released])


def run_dispatcher(settings: Settings, stopping: threading.Event) -> None:
    """Build a dispatcher from the settings and run it until told to stop."""
    catalogue = Catalogue.load(settings.models, settings.default_model)
    database = Database(settings.resolved_database_url)
    try:
        redis, celery = connect(settings.redis_url), make_celery(settings)
        Dispatcher(settings, catalogue.cards, database, redis, celery).run(stopping)
    finally:
        database.dispose()
