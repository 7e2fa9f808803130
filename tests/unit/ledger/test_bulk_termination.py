"""Canceling and dropping bulks while their jobs end and other processes work on them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier
from typing import Any, cast

import pytest
from sqlalchemy import func, select, text, update

from limner_shared.db import ledger, queries
from limner_shared.db.engine import Database
from limner_shared.db.tables import Base, Bulk, Event, IdempotencyKey, Job, Tenant, Usage
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, Priority
from limner_shared.errors import LimitTooLow, TooManyRequests

TENANT = ledger.LOCAL_TENANT
DAY = 86400.0


def lines(catalogue: Catalogue, numbers: Sequence[int], **more: Any) -> list[ledger.NewJob]:
    _, spec = catalogue.resolve(JobRequest(prompt="a red apple", seed=1))
    return [ledger.NewJob(spec, 10, Priority.LOW, bulk_line=number, **more) for number in numbers]


def load(database: Database, catalogue: Catalogue, count: int, **more: Any) -> str:
    """Create a bulk that is still loading and has `count` jobs; returns its id."""
    with database.write() as session:
        bulk_id = ledger.open_bulk(session, TENANT)
        ledger.reserve_quota(session, TENANT, count, 10 * count)
        ledger.submit(session, TENANT, lines(catalogue, range(count), **more), bulk_id=bulk_id)
    return bulk_id


def sweep(database: Database, bulk_id: str, limit: int = 1000) -> None:
    with database.write() as session:
        ledger.sweep_bulk(session, bulk_id, limit)


def rows(database: Database, table: type) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def usage_by_day(database: Database) -> dict[str, int]:
    with database.read() as session:
        return {row.day: row.cost for row in session.execute(select(Usage.day, Usage.cost))}


def test_dropping_a_bulk_deletes_the_events_of_its_expired_and_canceled_jobs(database: Database, catalogue: Catalogue):
    bulk_id = load(database, catalogue, 3, expires_in=-1)
    with database.write() as session:
        assert len(ledger.expire(session, 1)) == 1
        queued_id = session.scalar(select(Job.id).where(Job.state == "queued"))
        assert len(ledger.cancel(session, Job.id == queued_id)) == 1
    assert rows(database, Event) == 2
    with database.write() as session:
        assert ledger.drop_bulk(session, bulk_id)
    for _ in range(4):
        sweep(database, bulk_id, 1)
    assert [rows(database, table) for table in (Event, Job, Bulk)] == [0, 0, 0]


def test_only_known_tables_prevent_the_deletion_of_a_job():
    referencing = {
        table.name
        for table in Base.metadata.tables.values()
        for key in table.foreign_keys
        if key.column.table.name == "jobs" and key.ondelete is None
    }
    assert referencing == {"events", "images"}, (
        "sweep_bulk must delete the rows of every table that references jobs (dropped bulks have no images)"
    )


def test_two_concurrent_sweepers_delete_a_dropped_bulk_completely(database: Database, catalogue: Catalogue):
    bulk_id = load(database, catalogue, 60)
    with database.write() as session:
        ledger.drop_bulk(session, bulk_id)
    together = Barrier(2)

    def sweeper() -> None:
        together.wait()
        while rows(database, Bulk):
            sweep(database, bulk_id, 7)

    with ThreadPoolExecutor(2) as pool:
        for ended in [pool.submit(sweeper) for _ in range(2)]:
            ended.result(60)
    assert rows(database, Job) == 0


def test_a_bulk_can_be_dropped_while_its_loader_writes(database: Database, catalogue: Catalogue):
    bulk_id = load(database, catalogue, 5)
    together = Barrier(2)

    def loader() -> int:
        together.wait()
        for start in range(5, 5000, 5):
            with database.write() as session:
                if not ledger.touch_bulk(session, bulk_id, 5):
                    return start
                ledger.submit(session, TENANT, lines(catalogue, range(start, start + 5)), bulk_id=bulk_id)
        raise AssertionError("touch_bulk never reported the dropped bulk")

    def dropper() -> None:
        together.wait()
        with database.write() as session:
            assert ledger.drop_bulk(session, bulk_id)
        while rows(database, Bulk):
            sweep(database, bulk_id, 7)

    with ThreadPoolExecutor(2) as pool:
        for ended in [pool.submit(loader), pool.submit(dropper)]:
            ended.result(60)
    assert (rows(database, Job), rows(database, Bulk)) == (0, 0)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_sweep_skips_jobs_locked_by_another_transaction(database: Database, catalogue: Catalogue):
    bulk_id = load(database, catalogue, 3)
    with database.write() as session:
        ledger.drop_bulk(session, bulk_id)
    with database.engine.connect() as other:
        held = other.scalar(text("SELECT id FROM jobs ORDER BY id LIMIT 1 FOR UPDATE"))
        sweep(database, bulk_id)
        with database.read() as session:
            assert list(session.scalars(select(Job.id))) == [held]
    sweep(database, bulk_id)
    assert (rows(database, Job), rows(database, Bulk)) == (0, 0)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_sweep_does_not_wait_for_a_bulk_locked_by_another_sweeper(database: Database, catalogue: Catalogue):
    bulk_id = load(database, catalogue, 3)
    with database.write() as session:
        ledger.drop_bulk(session, bulk_id)
    with database.engine.connect() as other:
        other.execute(text("SELECT id FROM bulks FOR UPDATE"))
        sweep(database, bulk_id)
        assert rows(database, Job) == 3


def test_canceling_a_loading_bulk_frees_its_idempotency_key_and_stops_its_loader(
    database: Database, catalogue: Catalogue
):
    bulk_id = load(database, catalogue, 3)
    with database.write() as session:
        ledger.store_idempotency_key(session, TENANT, "mine", "", ledger.EarlierResult(bulk_id))
        ledger.cancel_bulk(session, bulk_id)
        assert ledger.read_idempotency_key(session, TENANT, "mine") is None
        assert not ledger.touch_bulk(session, bulk_id)
        assert not ledger.seal_bulk(session, bulk_id, 3)
        assert not ledger.drop_bulk(session, bulk_id)
    sweep(database, bulk_id)
    with database.read() as session:
        assert queries.bulk(session, TENANT, bulk_id).state == "canceled"


def test_canceling_a_complete_bulk_keeps_its_idempotency_key(database: Database, catalogue: Catalogue):
    bulk_id = load(database, catalogue, 1)
    with database.write() as session:
        ledger.seal_bulk(session, bulk_id, 1)
        ledger.store_idempotency_key(session, TENANT, "mine", "digest", ledger.EarlierResult(bulk_id))
        ledger.cancel_bulk(session, bulk_id)
    assert rows(database, IdempotencyKey) == 1


@pytest.fixture
def limited(database: Database) -> Database:
    """A tenant with a daily limit."""
    with database.write() as session:
        session.execute(update(Tenant).values(cost_per_day=1000))
    return database


def test_a_refund_goes_to_the_day_of_the_charge(limited: Database, catalogue: Catalogue):
    bulk_id = load(limited, catalogue, 5)
    [(today, cost)] = usage_by_day(limited).items()
    assert cost == 50
    with limited.write() as session:
        moved = cast("float", session.scalar(select(Job.created_at).limit(1))) - DAY
        session.execute(update(Job).where(Job.bulk_line < 2).values(created_at=moved))
        yesterday = datetime.fromtimestamp(moved, UTC).date().isoformat()
        session.add(Usage(tenant_id=TENANT, day=yesterday, cost=25))
        ledger.drop_bulk(session, bulk_id)
    sweep(limited, bulk_id)
    assert usage_by_day(limited) == {yesterday: 5, today: 20}


def test_a_refund_never_makes_usage_negative(limited: Database, catalogue: Catalogue):
    bulk_id = load(limited, catalogue, 5)
    with limited.write() as session:
        session.execute(update(Usage).values(cost=7))
        ledger.drop_bulk(session, bulk_id)
    sweep(limited, bulk_id)
    assert set(usage_by_day(limited).values()) == {0}


def test_retrying_dead_letters_respects_the_tenants_limits(database: Database, catalogue: Catalogue):
    load(database, catalogue, 3)
    with database.write() as session:
        session.execute(update(Job).values(state="failed", error_code="worker_lost", bulk_id=None, finished_at=1.0))
        session.execute(update(Tenant).values(max_queued=2))
        ids = list(session.scalars(select(Job.id)))
    with pytest.raises(LimitTooLow), database.write() as session:
        ledger.retry_dead(session, TENANT, None, 10)
    assert rows(database, Job) == 3
    with database.write() as session:
        assert len(ledger.retry_dead(session, TENANT, ids[:2], 10)) == 2
    with pytest.raises(TooManyRequests), database.write() as session:
        ledger.retry_dead(session, TENANT, None, 10)
    with database.write() as session:
        session.execute(update(Tenant).values(max_queued=None, cost_per_day=9))
    with pytest.raises(LimitTooLow), database.write() as session:
        ledger.retry_dead(session, TENANT, None, 10)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_finishing_jobs_of_the_same_bulks_concurrently_does_not_deadlock(database: Database, catalogue: Catalogue):
    """Regression: results were written one attempt after another, and each attempt locked its own bulk rows."""
    bulks = [load(database, catalogue, 80) for _ in range(2)]
    with database.write() as session:
        ids = {bulk: list(session.scalars(select(Job.id).where(Job.bulk_id == bulk))) for bulk in bulks}
        ledger.claim(session, [*ids[bulks[0]], *ids[bulks[1]]], "me", 60)
        for number, bulk in enumerate(bulks):  # the finishers lock the two bulks in different orders
            for half, chosen in enumerate((ids[bulk][:40], ids[bulk][40:])):
                session.execute(update(Job).where(Job.id.in_(chosen)).values(attempt=1 + (number + half) % 2))
    results = [
        [
            ledger.Result(ids[bulk][start + i], 1 + (number + half) % 2)
            for number, bulk in enumerate(bulks)
            for i in range(40)
        ]
        for half, start in enumerate((0, 40))
    ]
    together = Barrier(2)

    def finisher(mine: list[ledger.Result]) -> int:
        done = 0
        for pair in zip(mine[:40], mine[40:], strict=True):
            together.wait(30)
            with database.write() as session:
                done += len(ledger.finish(session, list(pair)))
        return done

    with ThreadPoolExecutor(2) as pool:
        assert [ended.result(60) for ended in [pool.submit(finisher, mine) for mine in results]] == [80, 80]
