"""The dispatcher carries out orders to cancel what waits, with both databases."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

import pytest
from redis import Redis
from sqlalchemy import update
from sqlalchemy.orm import Session
from tests.dispatchers import OTHER, TENANT, job, make_dispatcher, redis, submit

from limner_dispatcher import repair
from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.db.ledger import find_ordered
from limner_shared.db.tables import Cancellation, Job
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
    for _ in range(6):
        dispatcher.repair()
        seen.append(sum(job(database, each).state == "canceled" for each in ids[TENANT] + ids[OTHER]))
    assert seen[:4] == [2, 4, 5, 6]
    assert left(database) == []


def test_a_job_that_another_transaction_has_locked_is_left_to_a_later_round(
    make_dispatcher: Callable[..., Any], database: Database, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(repair, "CANCEL_SECONDS", 60.0)
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


def test_a_job_that_a_server_with_a_slow_clock_accepts_after_the_order_stays(
    make_dispatcher: Callable[..., Any], database: Database, catalogue: Catalogue
):
    [before] = submit(database, catalogue)
    order(database, TENANT)
    [later] = submit(database, catalogue)
    with database.write() as session:  # as if its id were that of an earlier moment
        session.execute(update(Cancellation).values(last_job=later))
        session.execute(update(Job).where(Job.id == later).values(created_at=Job.created_at + 1))
    make_dispatcher().repair()
    assert (job(database, before).state, job(database, later).state) == ("canceled", "queued")
    assert left(database) == []


def test_an_order_reaches_all_that_waits_though_the_databases_clock_was_put_back(
    make_dispatcher: Callable[..., Any], database: Database, catalogue: Catalogue
):
    [waiting] = submit(database, catalogue)
    with database.write() as session:
        session.execute(update(Job).values(created_at=Job.created_at + 3600))
    order(database, TENANT)
    make_dispatcher().repair()
    assert job(database, waiting).state == "canceled"


def test_an_order_that_is_extended_during_its_last_sweep_stays(database: Database, catalogue: Catalogue):
    [first] = submit(database, catalogue)
    order(database, TENANT)
    with database.read() as session:
        found = ledger.find_ordered(session, ledger.open_cancellations(session)[0], "", 9)
    assert found is not None
    [second] = submit(database, catalogue)
    order(database, TENANT)
    with database.write() as session:
        ledger.sweep_cancellation(session, *found, all_=True)
    assert (job(database, first).state, job(database, second).state, len(left(database))) == ("canceled", "queued", 1)


def test_a_search_that_passes_over_many_others_holds_up_no_writer_and_is_not_begun_again(
    make_dispatcher: Callable[..., Any], database: Database, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(repair, "CANCEL_SECONDS", 60)
    ids = submit(database, catalogue, 5)
    order(database, TENANT)
    begun: list[str] = []

    def find(session: Session, order_id: str, after: str, limit: int) -> tuple[ledger.Order, list[str]] | None:
        with database.write() as other:  # waits for a transaction that writes
            ledger.ensure_tenant(other, f"tenant_{len(begun)}", f"another {len(begun)}")
        begun.append(after)
        return find_ordered(session, order_id, after, limit)

    monkeypatch.setattr(ledger, "find_ordered", find)
    make_dispatcher().repair()
    assert begun == ["", ids[1], ids[3], ""], "once for what waits, and once for what was locked"
    assert left(database) == []
