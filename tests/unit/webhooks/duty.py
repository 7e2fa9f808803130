"""Dispatchers' delivery duties with short waits, jobs with webhooks, and the rows that both write."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import select, update

from limner_dispatcher.dispatcher import ends_pass
from limner_dispatcher.item_runner import ItemRunner
from limner_dispatcher.leadership import Leadership
from limner_dispatcher.webhooks import deliveries as duty
from limner_dispatcher.webhooks.deliveries import Deliveries
from limner_shared.db import ledger
from limner_shared.db.engine import Database, now
from limner_shared.db.ledger import NewJob
from limner_shared.db.tables import Job
from limner_shared.db.webhook_tables import WebhookAttempt, WebhookDelivery
from limner_shared.db.webhooks import endpoints
from limner_shared.db.webhooks.endpoints import EndpointFields
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, Priority
from limner_shared.domain.webhooks import EventType
from limner_shared.settings import Settings
from limner_shared.threads import Supervisor

TENANT = ledger.LOCAL_TENANT

EVERY_JOB_EVENT = [each.value for each in EventType if each.startswith("job.")]


@pytest.fixture
def make_duty(settings: Settings, database: Database, catalogue: Catalogue) -> Iterator[Callable[..., Deliveries]]:
    """Creates dispatchers' delivery duties; the lead of each ends with the test."""
    made: list[Deliveries] = []

    def make(owner: str = "a dispatcher", **changes: Any) -> Deliveries:
        changed = settings.model_copy(update={"webhook_internal_targets": ("127.0.0.0/8", "localhost"), **changes})
        leadership = Leadership(database, duty.DUTY, owner)
        made.append(Deliveries(changed, database, leadership, ItemRunner(ends_pass), Supervisor(), catalogue))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def new_job(database: Database, catalogue: Catalogue) -> Callable[..., str]:
    """Queues a job with a webhook, or without."""

    def submit(
        url: str | None = None, events: list[str] | None = None, bulk_id: str | None = None, line: int = 1
    ) -> str:
        _, spec = catalogue.resolve(JobRequest(prompt="a secret apple"))
        webhook = None if url is None else {"url": url, "events": events or EVERY_JOB_EVENT}
        with database.write() as session:
            new = NewJob(spec, 1, Priority.NORMAL, webhook=webhook, bulk_line=line if bulk_id else None)
            return ledger.submit(session, TENANT, [new], bulk_id=bulk_id).changes[0].id

    return submit


def run_until(deliveries_duty: Deliveries, done: Callable[[], object], seconds: float = 20) -> None:
    """Run rounds of the duty until `done`."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "the deliveries did not arrive"
        deliveries_duty.wait(min(0.05, deliveries_duty.round()))


def cancel(database: Database, *job_ids: str) -> None:
    with database.write() as session:
        assert len(ledger.cancel(session, Job.id.in_(job_ids))) == len(job_ids)


def rows(database: Database) -> list[WebhookDelivery]:
    with database.read() as session:
        return list(session.scalars(select(WebhookDelivery).order_by(WebhookDelivery.id)))


def states(database: Database) -> list[str]:
    return [row.state for row in rows(database)]


def attempts(database: Database) -> list[WebhookAttempt]:
    with database.read() as session:
        return list(session.scalars(select(WebhookAttempt).order_by(WebhookAttempt.id)))


def endpoint(database: Database, url: str, *types: EventType) -> tuple[str, str]:
    """Create an endpoint; returns its id and its secret."""
    with database.write() as session:
        fields = EndpointFields("an endpoint", url, [each.value for each in types or tuple(EventType)])
        row, secret = endpoints.create(session, TENANT, fields, actor="a test")
        return row.id, secret


def make_due(database: Database) -> None:
    with database.write() as session:
        session.execute(update(WebhookDelivery).values(next_at=now()))
