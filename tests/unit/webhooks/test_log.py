"""The log of deliveries: changes of endpoints, repeats by hand, retention, and an outage of the database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session
from tests.processes import eventually
from tests.receivers import Answer, Request, receiver
from tests.unit.webhooks.duty import TENANT, attempts, cancel, endpoint, make_duty, new_job, rows, run_until, states

from limner_dispatcher.webhooks import deliveries as duty
from limner_dispatcher.webhooks.deliveries import Deliveries
from limner_shared.db import ledger
from limner_shared.db.engine import Database, now
from limner_shared.db.tables import Job, Tenant
from limner_shared.db.webhook_tables import WebhookAttempt, WebhookDelivery, WebhookEvent
from limner_shared.db.webhooks import deliveries, endpoints, log
from limner_shared.domain.webhooks import EventType
from limner_shared.errors import InvalidState

__all__ = ["make_duty", "new_job"]


def test_what_waits_for_an_endpoint_goes_to_its_new_url_and_is_canceled_when_it_is_deleted(
    database: Database, make_duty: Callable[..., Deliveries], new_job: Callable[..., str]
):
    with receiver() as moved:
        endpoint_id, _ = endpoint(database, "https://nothing.invalid/x", EventType.JOB_CANCELED)
        cancel(database, new_job())
        with database.write() as session:
            endpoints.change(session, TENANT, endpoint_id, {"url": moved.url}, actor="a test")
        deliveries_duty = make_duty()
        run_until(deliveries_duty, lambda: states(database) == ["delivered"])
        assert rows(database)[0].url == moved.url
        cancel(database, new_job())
        with database.write() as session:
            endpoints.remove(session, TENANT, endpoint_id, actor="a test")
        run_until(deliveries_duty, lambda: states(database) == ["delivered", "canceled"])
        assert len(moved.requests) == 1


def test_a_delivery_is_repeated_by_hand_and_by_range(
    database: Database, make_duty: Callable[..., Deliveries], new_job: Callable[..., str]
):
    with receiver() as shop:
        cancel(database, *[new_job(shop.url, ["job.canceled"]) for _ in range(5)])
        deliveries_duty = make_duty()
        run_until(deliveries_duty, lambda: set(states(database)) == {"delivered"})
        with database.write() as session:
            log.redeliver(session, TENANT, rows(database)[0].id)
        run_until(deliveries_duty, lambda: len(shop.requests) == 6 and set(states(database)) == {"delivered"})
        which = log.DeliveryFilter(deliveries.DeliveryState.DELIVERED)
        with database.write() as session:
            count, last = log.redeliver_range(session, TENANT, which, 3)
            assert (count, last) == (3, rows(database)[2].id)
            following = log.DeliveryFilter(deliveries.DeliveryState.DELIVERED, first=f"{last}0")
            assert log.redeliver_range(session, TENANT, following, 3) == (2, None)
        run_until(deliveries_duty, lambda: len(shop.requests) == 11 and set(states(database)) == {"delivered"})
    assert len({request.headers["webhook-id"] for request in shop.requests}) == 5
    with database.write() as session:
        deliveries.claim(session, rows(database)[0].receiver, 1, 60)
        session.execute(update(WebhookDelivery).values(state="sending"))
        with pytest.raises(InvalidState):
            log.redeliver(session, TENANT, rows(database)[0].id)


def counts(database: Database) -> list[int]:
    tables = (WebhookEvent, WebhookDelivery, WebhookAttempt)
    with database.read() as session:
        return [session.scalar(select(func.count()).select_from(table)) or 0 for table in tables]


def test_retention_deletes_what_was_sent_of_a_job(
    database: Database, make_duty: Callable[..., Deliveries], new_job: Callable[..., str]
):
    with receiver(lambda request: Answer(200, request.body)) as shop:
        endpoint(database, shop.url, EventType.JOB_CANCELED)
        cancel(database, new_job(shop.url, ["job.canceled"]))
        run_until(make_duty(), lambda: states(database) == ["delivered"] * 2)
    with database.write() as session:
        session.execute(update(Job).values(finished_at=now() - 864_000))
        session.execute(update(Tenant).values(keep_prompts_days=1))
        assert ledger.forget_prompts(session, 9) == 1
    with database.read() as session:
        assert session.scalars(select(WebhookEvent.body)).all() == [None]
    assert [row.answer for row in attempts(database)] == [None, None]
    assert counts(database) == [1, 2, 2]
    with database.write() as session:
        session.execute(update(Tenant).values(keep_jobs_days=1))
        assert ledger.forget_jobs(session, 9) == 1
    assert counts(database) == [0, 0, 0]


def forget_prompts(database: Database) -> None:
    with database.write() as session:
        session.execute(update(Tenant).values(keep_prompts_days=0))
        assert ledger.forget_prompts(session, 9) == 1


def test_an_answer_that_comes_after_the_prompt_was_deleted_is_not_kept(
    database: Database, make_duty: Callable[..., Deliveries], new_job: Callable[..., str]
):
    def answer(request: Request) -> Answer:
        forget_prompts(database)
        return Answer(200, request.body)

    with receiver(answer) as shop:
        cancel(database, new_job(shop.url, ["job.canceled"]))
        run_until(make_duty(), lambda: states(database) == ["delivered"])
    [attempt] = attempts(database)
    assert (attempt.status, attempt.answer) == (200, None)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_body_that_is_made_while_the_prompt_is_deleted_does_not_keep_it(
    database: Database,
    make_duty: Callable[..., Deliveries],
    new_job: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
):
    store = deliveries.store_bodies
    waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted")

    def waiting() -> int:
        with database.read() as session:
            return session.scalar(waits) or 0

    with receiver() as shop, ThreadPoolExecutor(1) as pool:
        forgetting: list[Future[None]] = []

        def store_late(session: Session, bodies: Mapping[str, str]) -> None:
            forgetting.append(pool.submit(forget_prompts, database))
            eventually(lambda: forgetting[0].done() or waiting())
            store(session, bodies)

        monkeypatch.setattr(duty.deliveries, "store_bodies", store_late)
        cancel(database, new_job(shop.url, ["job.canceled"]))
        run_until(make_duty(), lambda: states(database) == ["delivered"])
        forgetting[0].result(20)
    with database.read() as session:
        assert session.scalars(select(WebhookEvent.body)).all() == [None]


def test_the_log_is_pruned_and_overdue_deliveries_are_given_up(
    database: Database, make_duty: Callable[..., Deliveries], new_job: Callable[..., str]
):
    with receiver() as shop:
        cancel(database, *[new_job(shop.url, ["job.canceled"]) for _ in range(3)])
        run_until(make_duty(), lambda: set(states(database)) == {"delivered"})
    cancel(database, new_job("https://shop.example", ["job.canceled"]))
    with database.write() as session:
        assert log.prune(session, 2, -1.0) == 2
        assert log.prune(session, 2, -1.0) == 1
        assert log.prune(session, 2, -1.0) == 0
        assert deliveries.give_up(session, 9, 60) == 0
        session.execute(update(WebhookDelivery).values(deadline_at=now() - 61))
        assert deliveries.give_up(session, 9, 60) == 1
    assert states(database) == ["failed"]
    assert counts(database) == [1, 1, 0]


def test_a_result_is_recorded_once_the_database_is_back(
    database: Database,
    make_duty: Callable[..., Deliveries],
    new_job: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
):
    with receiver() as shop:
        cancel(database, new_job(shop.url, ["job.canceled"]))
        deliveries_duty = make_duty()
        real = deliveries.finish
        failures = iter([ConnectionError("away"), None])

        def finish(session: Any, results: Any):
            error = next(failures, None)
            if error:
                raise error
            real(session, results)

        monkeypatch.setattr(duty.deliveries, "finish", finish)
        run_until(deliveries_duty, lambda: states(database) == ["delivered"])
    assert len(shop.requests) == 1
