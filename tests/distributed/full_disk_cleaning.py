"""An installation whose disk gets full of what is past its retention, and the dispatcher that cleans it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from limner_dispatcher.dispatcher import Dispatcher
from limner_shared.db import ledger
from limner_shared.db.engine import Database, is_full, now
from limner_shared.db.ledger import NewImage, NewJob, Result
from limner_shared.db.schema import upgrade
from limner_shared.db.tables import Job, Tenant
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, Priority
from limner_shared.messaging.celery_app import make_celery
from limner_shared.messaging.hints import connect
from limner_shared.settings import Settings
from limner_shared.storage.blobs import Blobs
from tests.ended_jobs import DAY, NO_GRACE, RECEIPT, TENANT

JOBS: Final = 1000
AT_ONCE: Final = 100


@dataclass
class Installation:
    """A database and pictures, and the dispatcher that cleans them."""

    database: Database
    blobs: Blobs
    dispatcher: Dispatcher
    catalogue: Catalogue

    def submit(self, jobs: int) -> list[str]:
        card, spec = self.catalogue.resolve(JobRequest(prompt="a red apple " * 40))
        with self.database.write() as session:
            new = [NewJob(spec, card.cost(spec), Priority.NORMAL)] * jobs
            return [change.id for change in ledger.submit(session, TENANT, new).changes]

    def draw(self) -> None:
        """Make jobs that ended a month ago, with pictures."""
        for _ in range(0, JOBS, AT_ONCE):
            ids = self.submit(AT_ONCE)
            digests = self.blobs.put_all([os.urandom(8000) for _ in ids])
            with self.database.write() as session:
                claims = ledger.claim(session, ids, "a worker", 60)
                images = [NewImage(digest, "image/png", 64, 64, 8000, 7, RECEIPT) for digest in digests]
                results = [Result(one.id, one.attempt, [image]) for one, image in zip(claims, images, strict=True)]
                ledger.finish(session, results)
                session.execute(update(Job).values(finished_at=now() - 30 * DAY))

    def clean(self) -> None:
        """Clean as the dispatcher's thread does after a minute; it survives a full disk."""
        self.dispatcher._retention._ran_at = self.dispatcher._sweep._looked_at = float("-inf")
        with suppress(OperationalError):
            self.dispatcher.retain()

    @property
    def is_full(self) -> bool:
        try:
            self.submit(AT_ONCE)
        except OperationalError as error:
            return is_full(error)
        return False

    def keep_days(self, **days: float) -> None:
        """Set for how many days something is kept."""
        with self.database.write() as session:
            session.execute(update(Tenant).values(days))


@contextmanager
def cleaned_installation(url: str, blobs: Path, redis_url: str) -> Iterator[Installation]:
    """An installation whose dispatcher deletes at once what it may delete; the database is empty."""
    settings = Settings(database_url=url, blob_url=blobs.as_uri(), redis_url=redis_url)
    upgrade(url)
    database, catalogue = Database(url), Catalogue.load((), "limner-flow")
    with database.write() as session:
        ledger.ensure_tenant(session, TENANT, TENANT)
    redis = connect(redis_url, decode_responses=False)
    dispatcher = Dispatcher(settings, catalogue, database, redis, make_celery(settings))
    dispatcher._retention._grace = dispatcher._sweep._aside_seconds = NO_GRACE
    try:
        yield Installation(database, Blobs(settings.resolved_blob_url), dispatcher, catalogue)
    finally:
        redis.close()
        database.dispose()
