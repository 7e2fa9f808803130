"""Several receivers and several dispatchers: none delays another, and no delivery is sent twice at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update
from tests.receivers import receiver
from tests.unit.webhooks.duty import attempts, cancel, make_due, make_duty, new_job, rows, run_until, states

from limner_dispatcher.leadership import NotLeading
from limner_dispatcher.webhooks.bodies import Bodies
from limner_dispatcher.webhooks.deliveries import Deliveries
from limner_shared.db.engine import Database, now
from limner_shared.db.signed_links import SignedLinks
from limner_shared.db.tables import Leader
from limner_shared.db.webhook_tables import WebhookDelivery
from limner_shared.db.webhooks import deliveries
from limner_shared.domain.catalogue import Catalogue
from limner_shared.settings import Settings

__all__ = ["make_duty", "new_job"]


def test_a_hanging_receiver_does_not_delay_another(
    database: Database, make_duty: Callable[..., Deliveries], new_job: Callable[..., str]
):
    with receiver() as hanging, receiver() as healthy:
        hanging.answer = hanging.hang
        for _ in range(30):
            cancel(database, new_job(hanging.url, ["job.canceled"]))
        cancel(database, *[new_job(healthy.url, ["job.canceled"]) for _ in range(20)])
        deliveries_duty = make_duty(webhook_timeout_seconds=120.0)
        run_until(deliveries_duty, lambda: len(healthy.requests) == 20)
        assert len(hanging.requests) == 1, "an unproven receiver gets one delivery at a time"
        hanging.released.set()
        run_until(deliveries_duty, lambda: len(hanging.requests) == 30)
    run_until(deliveries_duty, lambda: set(states(database)) == {"delivered"})
    ids = [request.headers["webhook-id"] for request in hanging.requests + healthy.requests]
    assert len(set(ids)) == 50


def test_only_the_leader_sends_and_another_takes_over_after_it(
    database: Database, make_duty: Callable[..., Deliveries], new_job: Callable[..., str]
):
    with receiver() as shop:
        cancel(database, new_job(shop.url, ["job.canceled"]))
        first, second = make_duty("first"), make_duty("second")
        run_until(first, lambda: states(database) == ["delivered"])
        cancel(database, new_job(shop.url, ["job.canceled"]))
        # The isolation lets the loss of the lead through, as the dispatcher's thread expects.
        with pytest.raises(NotLeading):
            second.round()
        assert len(shop.requests) == 1
        with database.write() as session:
            session.execute(update(Leader).values(until=0))
        run_until(second, lambda: set(states(database)) == {"delivered"})
    assert len(shop.requests) == 2


def test_no_delivery_is_claimed_twice_at_once(database: Database, new_job: Callable[..., str]):
    jobs = [new_job("https://shop.example/x", ["job.canceled"]) for _ in range(40)]
    cancel(database, *jobs)
    key = rows(database)[0].receiver

    def claim_some(_number: int) -> list[str]:
        with database.write() as session:
            return [claimed.id for claimed in deliveries.claim(session, key, 10, 60)]

    with ThreadPoolExecutor(8) as pool:
        claimed = [each for some in pool.map(claim_some, range(8)) for each in some]
    assert len(claimed) == len(set(claimed))
    assert len(claimed) >= 10


def test_a_delivery_whose_dispatcher_died_is_sent_again_and_the_late_result_changes_nothing(
    database: Database, make_duty: Callable[..., Deliveries], new_job: Callable[..., str], catalogue: Catalogue
):
    with receiver() as shop:
        cancel(database, new_job(shop.url, ["job.canceled"]))
        key = rows(database)[0].receiver
        with database.write() as session:
            [lost] = deliveries.claim(session, key, 1, 60)
            bodies = Bodies("", catalogue, SignedLinks(Settings(), database))
            deliveries.store_bodies(session, bodies.make(session, [lost]))
        deliveries_duty = make_duty()
        deliveries_duty.round()
        assert shop.requests == []
        make_due(database)  # its lease ends
        run_until(deliveries_duty, lambda: states(database) == ["delivered"])
        late = deliveries.Sent(lost.id, lost.attempt, deliveries.DeliveryState.PENDING, shop.url, 1.0)
        with database.write() as session:
            deliveries.finish(session, [late])
        assert states(database) == ["delivered"]
        assert [row.number for row in attempts(database)] == [2, 1]


def test_due_receivers_are_found_page_by_page(database: Database, new_job: Callable[..., str]):
    jobs = [new_job(f"https://shop{number}.example/x", ["job.canceled"]) for number in range(7)]
    cancel(database, *jobs)
    with database.write() as session:
        session.execute(update(WebhookDelivery).where(WebhookDelivery.url.contains("shop3")).values(next_at=now() + 60))
    found: list[str] = []
    after, pages = "", 0
    with database.read() as session:
        while pages == 0 or after:
            due, after = deliveries.due_receivers(session, after, 3)
            found += [each.receiver for each in due]
            pages += 1
    assert pages == 3
    assert sorted(found) == sorted(row.receiver for row in rows(database) if "shop3" not in row.url)
