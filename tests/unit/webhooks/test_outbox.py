"""Webhook events are written in the transaction of the change that they report."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session
from tests.receivers import receiver
from tests.unit.webhooks.duty import TENANT, cancel, endpoint, make_duty, new_job, rows, run_until

from limner_dispatcher.webhooks.deliveries import Deliveries
from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.db.ledger import NewImage, Result
from limner_shared.db.tables import Job
from limner_shared.db.webhook_tables import WebhookEvent
from limner_shared.db.webhooks import deliveries, endpoints
from limner_shared.db.webhooks.outbox import NewEvent, emit
from limner_shared.domain.webhooks import EventType
from limner_shared.errors import GenerationFailed

__all__ = ["make_duty", "new_job"]


def test_an_event_is_written_with_the_change_and_not_without_it(database: Database, new_job: Callable[..., str]):
    job_id = new_job("https://shop.example/x")
    with pytest.raises(RuntimeError), database.write() as session:  # noqa: PT012
        assert ledger.cancel(session, Job.id == job_id)[0].notifies
        raise RuntimeError
    assert rows(database) == []
    cancel(database, job_id)
    [row] = rows(database)
    assert (row.state, row.url, row.attempt) == ("pending", "https://shop.example/x", 0)


def test_each_change_of_a_job_is_reported_once(database: Database, new_job: Callable[..., str]):
    succeeds, fails, is_canceled = (new_job("https://shop.example") for _ in range(3))
    with database.write() as session:
        claims = {claim.id: claim for claim in ledger.claim(session, [succeeds, fails], "a worker", 60)}
        first, second = claims[succeeds], claims[fails]
        assert first.change.notifies
        ledger.hand_back(session, [first.key])
        [first] = ledger.claim(session, [succeeds], "another worker", 60)
        ledger.finish(session, [Result(first.id, first.attempt, [NewImage("ab" * 32, "image/png", 8, 8, 9, 7, {})])])
        assert ledger.finish(session, [Result(first.id, first.attempt, [])]) == []
        ledger.fail(session, Result(second.id, second.attempt, error=GenerationFailed()))
    cancel(database, is_canceled)
    with database.read() as session:
        events = sorted(tuple(row) for row in session.execute(select(WebhookEvent.subject_id, WebhookEvent.type)))
    told = {succeeds: "succeeded", fails: "failed"}
    expected = [(job, f"job.{state}") for job, end in told.items() for state in ("started", end)]
    assert events == sorted([*expected, (is_canceled, "job.canceled")])


def test_a_tenant_without_receivers_writes_no_events(database: Database, new_job: Callable[..., str]):
    endpoint(database, "https://shop.example", EventType.BULK_COMPLETED)
    job_id = new_job("https://shop.example", ["job.failed"])
    with database.write() as session:
        assert not ledger.cancel(session, Job.id == job_id)[0].notifies
        assert session.scalar(select(func.count()).select_from(WebhookEvent)) == 0


def test_a_damaged_webhook_does_not_stop_its_job_from_ending(database: Database, new_job: Callable[..., str]):
    job_id = new_job("https://shop.example")
    with database.write() as session:
        session.execute(update(Job).values(webhook={"nonsense": 1}))
    cancel(database, job_id)
    assert rows(database) == []


def bulk_of(database: Database, new_job: Callable[..., str], jobs: int) -> tuple[str, list[str]]:
    webhook = {"url": "https://shop.example/bulk", "events": ["bulk.completed", "bulk.canceled"]}
    with database.write() as session:
        bulk_id = ledger.open_bulk(session, TENANT, webhook)
    return bulk_id, [new_job(bulk_id=bulk_id, line=line) for line in range(jobs)]


def bulk_events(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(WebhookEvent.type)))


def test_a_bulk_is_completed_when_its_last_job_ends(database: Database, new_job: Callable[..., str]):
    bulk_id, jobs = bulk_of(database, new_job, 3)
    with database.write() as session:
        ledger.seal_bulk(session, bulk_id, 3)
    cancel(database, *jobs[:2])
    assert bulk_events(database) == []
    cancel(database, jobs[2])
    assert bulk_events(database) == ["bulk.completed"]


def test_a_bulk_whose_jobs_ended_while_it_was_loading_is_completed_when_it_is_sealed(
    database: Database, new_job: Callable[..., str]
):
    bulk_id, jobs = bulk_of(database, new_job, 2)
    with database.write() as session:
        ledger.touch_bulk(session, bulk_id, 1)
    cancel(database, *jobs)
    assert bulk_events(database) == []
    with database.write() as session:
        ledger.seal_bulk(session, bulk_id, 2)
    assert bulk_events(database) == ["bulk.completed"]


def test_a_canceled_bulk_is_reported_once_its_jobs_are_canceled(database: Database, new_job: Callable[..., str]):
    bulk_id, _ = bulk_of(database, new_job, 3)
    with database.write() as session:
        ledger.seal_bulk(session, bulk_id, 3)
        ledger.cancel_bulk(session, bulk_id)
        ledger.sweep_bulk(session, bulk_id, 2)
    assert bulk_events(database) == []
    for _ in range(2):
        with database.write() as session:
            ledger.sweep_bulk(session, bulk_id, 2)
    assert bulk_events(database) == ["bulk.canceled"]


def test_anything_can_emit_events_with_its_own_data(database: Database, make_duty: Callable[..., Deliveries]):
    with receiver() as shop:
        endpoint(database, shop.url, EventType.BATCH_COMPLETED)
        with database.write() as session:
            events = [
                NewEvent(TENANT, kind, "batch_1", data={"id": "batch_1"})
                for kind in (EventType.BATCH_COMPLETED, EventType.BATCH_FAILED)
            ]
            assert emit(session, events)
        run_until(make_duty(), lambda: shop.requests)
        [request] = shop.requests
        assert (request.event["type"], request.event["data"]) == ("batch.completed", {"id": "batch_1"})


def test_the_secret_of_a_tenant_is_looked_up_once_for_all_deliveries_that_are_claimed_together(
    database: Database, new_job: Callable[..., str], monkeypatch: pytest.MonkeyPatch
):
    jobs = [new_job("https://shop.example") for _ in range(3)]
    with database.write() as session:
        ledger.cancel(session, Job.id.in_(jobs))
    asked: list[str] = []

    def current_secret(session: Session, owner_id: str) -> str:
        asked.append(owner_id)
        return endpoints.current_secret(session, owner_id)

    monkeypatch.setattr(deliveries, "current_secret", current_secret)
    with database.write() as session:
        assert len(deliveries.claim(session, rows(database)[0].receiver, 9, 60)) == 3
    assert asked == [TENANT]
