"""Bulks that are canceled or dropped, however their jobs ended meanwhile and whoever else is at work on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier

import pytest
from sqlalchemy import func, select, text, update

from limner_shared.db import ledger, queries
from limner_shared.db.engine import Database
from limner_shared.db.tables import Base, Bulk, Event, IdempotencyKey, Job, Tenant, Usage
from limner_shared.domain.cards import Catalogue
from limner_shared.domain.jobs import JobRequest, Priority
from limner_shared.errors import TooManyRequests

TENANT = ledger.LOCAL_TENANT
DAY = 86400.0


def lines(catalogue: Catalogue, numbers: Sequence[int], **more: object) -> list[ledger.NewJob]:
    _, spec = catalogue.resolve(JobRequest(prompt="a red apple", seed=1))
    return [ledger.NewJob(spec, 10, Priority.LOW, bulk_line=number, **more) for number in numbers]


def load(database: Database, catalogue: Catalogue, count: int, **more: object) -> str:
    """A bulk of so many jobs that is still loading."""
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


def used(database: Database) -> dict[str, int]:
    with database.read() as session:
        return {row.day: row.cost for row in session.execute(select(Usage.day, Usage.cost))}


def test_a_dropped_bulk_goes_with_the_events_of_jobs_that_expired_or_were_canceled_meanwhile(database, catalogue):
    bulk_id = load(database, catalogue, 3, expires_in=-1)
    with database.write() as session:
        assert len(ledger.expire(session, 1)) == 1
        some = session.scalar(select(Job.id).where(Job.state == "queued"))
        assert len(ledger.cancel(session, Job.id == some)) == 1
    assert rows(database, Event) == 2
    with database.write() as session:
        assert ledger.drop_bulk(session, bulk_id)
    for _ in range(4):
        sweep(database, bulk_id, 1)
    assert [rows(database, table) for table in (Event, Job, Bulk)] == [0, 0, 0]


def test_every_table_whose_rows_hold_a_job_is_known_to_the_code_that_deletes_jobs():
    holding = {
        table.name
        for table in Base.metadata.tables.values()
        for key in table.foreign_keys
        if key.column.table.name == "jobs" and key.ondelete is None
    }
    assert holding == {"events", "images"}, "a bulk that is dropped has no images; what else keeps a job?"


def test_two_sweepers_at_once_delete_a_dropped_bulk_without_leaving_a_job_behind(database, catalogue):
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


def test_a_bulk_is_dropped_although_its_loader_still_writes(database, catalogue):
    bulk_id = load(database, catalogue, 5)
    together = Barrier(2)

    def loader() -> int:
        together.wait()
        for start in range(5, 5000, 5):
            with database.write() as session:
                if not ledger.touch_bulk(session, bulk_id, start):
                    return start
                ledger.submit(session, TENANT, lines(catalogue, range(start, start + 5)), bulk_id=bulk_id)
        raise AssertionError("it was never told")

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
def test_a_job_that_another_transaction_holds_is_left_to_the_next_sweep(database, catalogue):
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
def test_a_bulk_that_another_sweeper_has_is_not_waited_for(database, catalogue):
    bulk_id = load(database, catalogue, 3)
    with database.write() as session:
        ledger.drop_bulk(session, bulk_id)
    with database.engine.connect() as other:
        other.execute(text("SELECT id FROM bulks FOR UPDATE"))
        sweep(database, bulk_id)
        assert rows(database, Job) == 3


def test_canceling_a_loading_bulk_frees_its_idempotency_key_and_tells_its_loader(database, catalogue):
    bulk_id = load(database, catalogue, 3)
    with database.write() as session:
        ledger.store_idempotency_key(session, TENANT, "mine", "", bulk_id)
        ledger.cancel_bulk(session, bulk_id)
        assert ledger.read_idempotency_key(session, TENANT, "mine") is None
        assert not ledger.touch_bulk(session, bulk_id, 4)
        assert not ledger.seal_bulk(session, bulk_id, 3)
        assert not ledger.drop_bulk(session, bulk_id)
    sweep(database, bulk_id)
    with database.read() as session:
        assert queries.bulk(session, TENANT, bulk_id).state == "canceled"


def test_canceling_a_complete_bulk_keeps_its_idempotency_key(database, catalogue):
    bulk_id = load(database, catalogue, 1)
    with database.write() as session:
        ledger.seal_bulk(session, bulk_id, 1)
        ledger.store_idempotency_key(session, TENANT, "mine", "digest", bulk_id)
        ledger.cancel_bulk(session, bulk_id)
    assert rows(database, IdempotencyKey) == 1


@pytest.fixture
def limited(database: Database) -> Iterator[Database]:
    """A tenant with a daily limit."""
    with database.write() as session:
        session.execute(update(Tenant).values(cost_per_day=1000))
    return database


def test_what_was_charged_yesterday_is_refunded_to_yesterday(limited, catalogue):
    bulk_id = load(limited, catalogue, 5)
    [(today, cost)] = used(limited).items()
    assert cost == 50
    with limited.write() as session:
        moved = session.scalar(select(Job.created_at).limit(1)) - DAY
        session.execute(update(Job).where(Job.bulk_line < 2).values(created_at=moved))
        yesterday = datetime.fromtimestamp(moved, UTC).date().isoformat()
        session.add(Usage(tenant_id=TENANT, day=yesterday, cost=25))
        ledger.drop_bulk(session, bulk_id)
    sweep(limited, bulk_id)
    assert used(limited) == {yesterday: 5, today: 20}


def test_a_refund_never_makes_usage_negative(limited, catalogue):
    bulk_id = load(limited, catalogue, 5)
    with limited.write() as session:
        session.execute(update(Usage).values(cost=7))
        ledger.drop_bulk(session, bulk_id)
    sweep(limited, bulk_id)
    assert set(used(limited).values()) == {0}


def test_dead_letters_are_done_again_only_within_their_tenants_limits(database, catalogue):
    load(database, catalogue, 3)
    with database.write() as session:
        session.execute(update(Job).values(state="failed", error_code="worker_lost", bulk_id=None, finished_at=1.0))
        session.execute(update(Tenant).values(max_queued=2))
        ids = list(session.scalars(select(Job.id)))
    with pytest.raises(TooManyRequests), database.write() as session:
        ledger.retry_dead(session, TENANT, None, 10)
    assert rows(database, Job) == 3
    with database.write() as session:
        assert len(ledger.retry_dead(session, TENANT, ids[:2], 10)) == 2
        session.execute(update(Tenant).values(max_queued=None, cost_per_day=9))
    with pytest.raises(TooManyRequests), database.write() as session:
        ledger.retry_dead(session, TENANT, None, 10)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_two_transactions_that_end_jobs_of_the_same_bulks_never_wait_for_each_other_in_a_circle(database, catalogue):
    """Results of different attempts used to be written one attempt after another, each with bulk rows of its own."""
    bulks = [load(database, catalogue, 80) for _ in range(2)]
    with database.write() as session:
        ids = {bulk: list(session.scalars(select(Job.id).where(Job.bulk_id == bulk))) for bulk in bulks}
        ledger.claim(session, [*ids[bulks[0]], *ids[bulks[1]]], "me", 60)
        for number, bulk in enumerate(bulks):  # each finisher meets the two bulks in another order
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
