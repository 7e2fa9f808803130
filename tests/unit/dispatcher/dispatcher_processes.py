"""Dispatchers whose threads run, and the jobs that they release."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from redis import Redis

from limner_dispatcher import repair
from limner_dispatcher.dispatcher import Dispatcher
from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, Lane, Priority
from limner_shared.messaging.celery_app import make_celery, queue_name
from limner_shared.messaging.hints import connect
from limner_shared.messaging.redis_queues import jobs_of
from limner_shared.settings import Settings

MODEL = "limner-flow"

TENANT = ledger.LOCAL_TENANT


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    client = connect(redis_url, decode_responses=False)
    yield client
    client.close()


@pytest.fixture
def make_dispatcher(
    settings: Settings, catalogue: Catalogue, database: Database, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Any]]:
    """Creates dispatchers with changed settings; expired leases get no extra time. Threads end with the test."""
    monkeypatch.setattr(repair, "RENEWAL_SECONDS", 0.0)
    celery, exit_stack = make_celery(settings), ExitStack()

    def make_dispatcher(*, run: bool = False, on: Database = database, **changed: Any) -> Dispatcher:
        made = Dispatcher(settings.model_copy(update=changed), catalogue, on, redis, celery)
        if run:
            exit_stack.enter_context(running(made))
        return made

    with exit_stack:
        yield make_dispatcher
    celery.close()


@contextmanager
def running(dispatcher: Dispatcher) -> Iterator[None]:
    """Run the dispatcher's threads until the end of the block."""
    stopping = threading.Event()
    thread = threading.Thread(target=dispatcher.run, args=(stopping,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(30)


def new_jobs(catalogue: Catalogue, count: int = 1, model: str = MODEL, **more: Any) -> list[ledger.NewJob]:
    card, spec = catalogue.resolve(JobRequest(prompt="a red apple", seed=1, model=model))
    return [ledger.NewJob(spec, card.cost(spec), Priority.LOW, **more) for _ in range(count)]


def submit(
    database: Database, jobs: list[ledger.NewJob], tenant: str = TENANT, bulk_id: str | None = None
) -> list[str]:
    with database.write() as session:
        ledger.ensure_tenant(session, tenant, tenant)
        return [change.id for change in ledger.submit(session, tenant, jobs, bulk_id=bulk_id).changes]


def tick(dispatcher: Dispatcher) -> None:
    dispatcher.repair()
    dispatcher.release()


def published(redis: Redis, model: str = MODEL) -> set[str]:
    lists = [redis.lrange(queue_name(model, lane), 0, -1) for lane in Lane]
    return {name for messages in lists for raw in messages for name in jobs_of(raw)[0]}


def expire_lease(database: Database, job_id: str) -> None:
    """Claim a job with an expired lease, as if its worker had died."""
    with database.write() as session:
        assert ledger.claim(session, [job_id], "a dead worker", -1)
