"""Dispatchers whose rounds a test runs, and the jobs and messages that they handle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis

from limner_dispatcher import leadership, release, repair
from limner_dispatcher.dispatcher import Dispatcher
from limner_shared.db import ledger
from limner_shared.db.engine import Database, clock
from limner_shared.db.tables import Job
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, Lane, Priority
from limner_shared.messaging.celery_app import make_celery, queue_name
from limner_shared.messaging.hints import connect
from limner_shared.messaging.redis_queues import jobs_of
from limner_shared.settings import Settings

MODEL = "limner-flow"

TENANT = ledger.LOCAL_TENANT

OTHER = "tenant_other"

MINUTE = 60.0

HOUR = 60 * MINUTE


@pytest.fixture(autouse=True)
def _long_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use timeouts that a slow machine cannot reach, unless a test changes them."""
    monkeypatch.setattr(leadership, "LEAD_SECONDS", MINUTE)
    monkeypatch.setattr(release, "MESSAGE_LOST_SECONDS", MINUTE)


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    client = connect(redis_url)
    yield client
    client.close()


@pytest.fixture
def make_dispatcher(
    settings: Settings, catalogue: Catalogue, database: Database, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Any]]:
    """Creates dispatchers with changed settings; expired leases get no extra time for renewal."""
    monkeypatch.setattr(repair, "RENEWAL_SECONDS", 0.0)
    celery, client = make_celery(settings), connect(settings.redis_url, decode_responses=False)

    def make_dispatcher(**changed: Any) -> Dispatcher:
        changed_settings = settings.model_copy(update={"release_window": 8, "max_release_window": 8, **changed})
        return Dispatcher(changed_settings, catalogue, database, client, celery)

    yield make_dispatcher
    celery.close()
    client.close()


def tick(dispatcher: Dispatcher) -> None:
    """Run one round of each of the dispatcher's threads, in sequence."""
    dispatcher.repair()
    dispatcher.release()


def submit(
    database: Database,
    catalogue: Catalogue,
    count: int = 1,
    tenant: str = TENANT,
    priority: Priority = Priority.LOW,
    bulk_id: str | None = None,
    not_before: float | None = None,
    max_retries: int = 0,
) -> list[str]:
    """Queue jobs that the dispatcher has to release, `not_before` in seconds from now; returns their ids."""
    card, spec = catalogue.resolve(JobRequest(prompt="a red apple", seed=1))
    new_job = ledger.NewJob(spec, card.cost(spec), priority, max_retries=max_retries)
    jobs = [replace(new_job, bulk_line=line if bulk_id else None) for line in range(count)]
    with database.write() as session:
        if not_before is not None:
            jobs = [replace(job, not_before=clock(session) + not_before) for job in jobs]
        ledger.ensure_tenant(session, tenant, tenant)
        return [change.id for change in ledger.submit(session, tenant, jobs, bulk_id=bulk_id).changes]


def claim(database: Database, *ids: str, lease: float = 60) -> list[ledger.Claim]:
    with database.write() as session:
        return ledger.claim(session, ids, "a worker", lease)


def job(database: Database, job_id: str) -> Job:
    with database.read() as session:
        found = session.get(Job, job_id)
    assert found is not None
    return found


def messages(redis: Redis, lane: Lane) -> list[list[str]]:
    """The job ids in each message of a lane, oldest message first."""
    return [jobs_of(raw)[0] for raw in reversed(redis.lrange(queue_name(MODEL, lane), 0, -1))]


def published(redis: Redis) -> Counter[str]:
    """The number of messages for each job id, over all lanes."""
    return Counter(name for lane in Lane for message in messages(redis, lane) for name in message)
