"""Webhooks with real processes: a killed dispatcher loses none, and every repeat has the id of its event."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from limner_shared.db import ledger
from limner_shared.db.engine import now
from limner_shared.db.tables import Job
from limner_shared.db.webhook_tables import WebhookDelivery
from tests.distributed.null_services import CARD
from tests.processes import TENANT, Service, eventually
from tests.receivers import Answer, Receiver, receiver

pytestmark = pytest.mark.long


@pytest.fixture
def delivering(service: Service) -> Service:
    """A service with the null model that may send to loopback."""
    changes = {"models": (CARD,), "default_model": "null", "webhook_internal_targets": ("127.0.0.1",)}
    service.change_settings(changes)
    return service


def cancel_jobs(service: Service, shop: Receiver, count: int) -> list[str]:
    """Queue jobs whose webhook is this receiver, and cancel them: each has one delivery."""
    ids = service.submit(count)
    with service.database.write() as session:
        webhook = {"url": shop.url, "events": ["job.canceled"]}
        session.execute(update(Job).where(Job.id.in_(ids)).values(webhook=webhook))
        assert len(ledger.cancel(session, Job.id.in_(ids))) == count
    return ids


def states(service: Service) -> set[str]:
    with service.database.read() as session:
        return set(session.scalars(select(WebhookDelivery.state).where(WebhookDelivery.tenant_id == TENANT)))


def test_a_dispatcher_killed_in_the_middle_of_deliveries_loses_none_and_repeats_are_recognizable(delivering: Service):
    with receiver() as shop:
        shop.answer = shop.hang
        ids = cancel_jobs(delivering, shop, 6)
        process = delivering.start("dispatcher")
        eventually(lambda: shop.requests or process.poll() is not None, 60)
        assert process.poll() is None, delivering.logs()
        process.kill()
        process.wait(10)
        interrupted = [request.headers["webhook-id"] for request in shop.requests]
        assert states(delivering) >= {"sending"}
        shop.answer = lambda _request: Answer()
        shop.released.set()
        delivering.start("dispatcher")
        with delivering.database.write() as session:  # their leases end
            session.execute(update(WebhookDelivery).values(next_at=now()))
        eventually(lambda: states(delivering) == {"delivered"}, 60)
    by_id: dict[str, set[bytes]] = {}
    for request in shop.requests:
        by_id.setdefault(request.headers["webhook-id"], set()).add(request.body)
    assert {request.event["data"]["id"] for request in shop.requests} == set(ids)
    assert len(by_id) == 6
    assert all(len(bodies) == 1 for bodies in by_id.values())
    counted = [request.headers["webhook-id"] for request in shop.requests]
    assert all(counted.count(event_id) == (2 if event_id in interrupted else 1) for event_id in by_id)


def test_two_dispatchers_send_each_event_once(delivering: Service):
    with receiver() as shop:
        for _ in range(2):
            delivering.start("dispatcher")
        for _ in range(5):
            cancel_jobs(delivering, shop, 8)
        eventually(lambda: states(delivering) == {"delivered"} and len(shop.requests) >= 40, 60)
    ids = [request.headers["webhook-id"] for request in shop.requests]
    assert len(ids) == len(set(ids)) == 40


def test_a_stopped_dispatcher_records_what_it_was_sending(delivering: Service):
    with receiver() as shop:
        shop.answer = shop.hang
        cancel_jobs(delivering, shop, 1)
        process = delivering.start("dispatcher")
        eventually(lambda: shop.requests, 60)
        process.terminate()
        shop.released.set()
        assert process.wait(30) == 0, delivering.logs()
    assert states(delivering) == {"delivered"}
    assert len(shop.requests) == 1
