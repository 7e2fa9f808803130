"""The dispatcher carries out orders to cancel what waits, with both databases."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

import pytest
from redis import Redis
from tests.dispatchers import OTHER, TENANT, job, make_dispatcher, redis, submit

from limner_dispatcher import repair
from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.db.tables import Job
from limner_shared.domain.catalogue import Catalogue
from limner_shared.messaging.hints import JOB_CHANNEL, read_hint
from limner_shared.messaging.typed_redis import subscription

__all__ = ["make_dispatcher", "redis"]


def order(database: Database, tenant: str) -> None:
    with database.write() as session:
        assert ledger.order_cancellation(session, tenant, None, None)


def left(database: Database) -> list[str]:
    with database.read() as session:
        return ledger.open_cancellations(session)


@pytest.fixture(autouse=True)
def _few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repair, "SWEPT_AT_ONCE", 2)


def test_a_round_cancels_the_jobs_of_every_order_and_tells_those_who_follow_them(
    make_dispatcher: Callable[..., Any],
    database: Database,
    catalogue: Catalogue,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(repair, "CANCEL_SECONDS", 60)
    ids = {tenant: submit(database, catalogue, 5, tenant) for tenant in (TENANT, OTHER)}
    for tenant in ids:
        order(database, tenant)
    later = submit(database, catalogue)[0]
    dispatcher = make_dispatcher()
    told: set[str] = set()
    with subscription(redis) as channel:
        channel.subscribe(JOB_CHANNEL)
        dispatcher.repair()
        deadline = time.monotonic() + 30
        while len(told) < 10 and time.monotonic() < deadline:
            message = cast("dict[str, Any] | None", channel.get_message(timeout=1))
            found = read_hint(message["data"]) if message else None
            told |= {found.id} if found else set()
    assert {job(database, each).state for each in [*ids[TENANT], *ids[OTHER]]} == {"canceled"}
    assert job(database, later).state == "queued"
    assert left(database) == []
    assert told == {*ids[TENANT], *ids[OTHER]}


def test_a_round_leaves_time_to_others_and_the_next_one_goes_on_with_another_order(
    make_dispatcher: Callable[..., Any], database: Database, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(repair, "CANCEL_SECONDS", 0)  # it is over after each transaction
    ids = {tenant: submit(database, catalogue, 3, tenant) for tenant in (TENANT, OTHER)}
    for tenant in ids:
        order(database, tenant)
    dispatcher = make_dispatcher()
    seen: list[int] = []
    for _ in range(4):
        dispatcher.repair()
        seen.append(sum(job(database, each).state == "canceled" for each in ids[TENANT] + ids[OTHER]))
    assert seen == [2, 4, 5, 6]
    assert left(database) == []


def test_a_job_that_another_transaction_has_locked_is_left_to_a_later_round(
    make_dispatcher: Callable[..., Any], database: Database, catalogue: Catalogue
):
    if database.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    held, free = submit(database, catalogue, 2)
    order(database, TENANT)
    dispatcher = make_dispatcher()
    with database.write() as session:
        session.get(Job, held, with_for_update=True)
        dispatcher.repair()
        assert (job(database, held).state, job(database, free).state) == ("queued", "canceled")
        assert len(left(database)) == 1
    dispatcher.repair()
    assert job(database, held).state == "canceled"
    assert left(database) == []
