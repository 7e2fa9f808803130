"""The dispatcher's rounds, with a real Valkey and both databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from redis import Redis
from sqlalchemy import func, select, update
from tests.dispatchers import (
    HOUR,
    MINUTE,
    MODEL,
    OTHER,
    TENANT,
    _long_timeouts,
    claim,
    job,
    make_dispatcher,
    messages,
    published,
    redis,
    submit,
    tick,
)

from limner_dispatcher import dispatcher as dispatcher_module
from limner_dispatcher import leadership, release, retention
from limner_dispatcher.leadership import NotLeading
from limner_shared.db import ledger, release_queries
from limner_shared.db.engine import Database, now
from limner_shared.db.tables import Job, Leader, Tenant
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import Lane, Priority
from limner_shared.errors import StorageFailed
from limner_shared.messaging.redis_queues import RedisQueues

__all__ = ["_long_timeouts", "make_dispatcher", "redis"]


def test_only_the_leading_dispatcher_releases_until_its_leadership_expires(
    database: Database,
    catalogue: Catalogue,
    redis: Redis,
    make_dispatcher: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
):
    first, second = make_dispatcher(), make_dispatcher()
    submit(database, catalogue, 20)
    tick(first)
    with pytest.raises(NotLeading):
        tick(second)
    assert len(published(redis)) == 8
    cast("Any", redis).flushall()
    with pytest.raises(NotLeading):
        tick(second)
    assert not published(redis)

    monkeypatch.setattr(leadership, "LEAD_SECONDS", -1.0)  # its leadership expires at once
    tick(first)
    cast("Any", redis).flushall()
    monkeypatch.setattr(leadership, "LEAD_SECONDS", MINUTE)
    monkeypatch.setattr(release, "MESSAGE_LOST_SECONDS", -1.0)
    tick(second)
    assert len(published(redis)) == 8
    with pytest.raises(NotLeading):
        tick(first)


def test_a_dispatcher_without_leadership_changes_no_lease(
    database: Database, catalogue: Catalogue, make_dispatcher: Callable[..., Any]
):
    first, second = make_dispatcher(), make_dispatcher()
    tick(first)
    [job_id] = submit(database, catalogue)
    claim(database, job_id, lease=-1)
    with pytest.raises(NotLeading):
        tick(second)
    assert job(database, job_id).state == "running"


def test_a_thousand_jobs_of_one_tenant_do_not_delay_three_of_another(
    database: Database, catalogue: Catalogue, redis: Redis, make_dispatcher: Callable[..., Any]
):
    many, few = submit(database, catalogue, 1000), submit(database, catalogue, 3, OTHER)
    tick(make_dispatcher())
    found = published(redis)
    assert set(few) <= set(found)
    assert set(found) - set(few) == set(many[:5])
    assert max(found.values()) == 1


def test_a_tenant_with_twice_the_weight_gets_twice_as_many_releases(
    database: Database, catalogue: Catalogue, redis: Redis, make_dispatcher: Callable[..., Any]
):
    light, heavy = submit(database, catalogue, 30), submit(database, catalogue, 30, OTHER)
    with database.write() as session:
        session.execute(update(Tenant).where(Tenant.id == OTHER).values(weight=2.0))
    tick(make_dispatcher(release_window=24, max_release_window=24))
    found = published(redis)
    assert (len(found.keys() & set(light)), len(found.keys() & set(heavy))) == (8, 16)


def test_two_bulks_of_a_tenant_take_turns(
    database: Database, catalogue: Catalogue, redis: Redis, make_dispatcher: Callable[..., Any]
):
    bulks: list[list[str]] = []
    for count in (1000, 3):
        with database.write() as session:
            bulk_id = ledger.open_bulk(session, TENANT)
        bulks.append(submit(database, catalogue, count, bulk_id=bulk_id))
        with database.write() as session:
            assert ledger.seal_bulk(session, bulk_id, count)
    tick(make_dispatcher())
    assert set(published(redis)) == {*bulks[0][:5], *bulks[1]}


def test_the_next_small_job_of_a_tenant_without_active_jobs_goes_to_the_first_lane(
    database: Database, catalogue: Catalogue, redis: Redis, make_dispatcher: Callable[..., Any]
):
    ids = submit(database, catalogue, 3, priority=Priority.NORMAL)
    tick(make_dispatcher())
    assert messages(redis, Lane.FIRST) == [ids[:1]]
    assert messages(redis, Lane.NORMAL) == [[ids[1]], [ids[2]]]


def test_max_running_limits_the_active_jobs_of_a_tenant_over_all_priorities(
    database: Database, catalogue: Catalogue, redis: Redis, make_dispatcher: Callable[..., Any]
):
    high, low = submit(database, catalogue, 2, priority=Priority.HIGH), submit(database, catalogue, 5)
    free = submit(database, catalogue, 2, OTHER)
    with database.write() as session:
        session.execute(update(Tenant).where(Tenant.id == TENANT).values(max_running=3))
    dispatcher = make_dispatcher()
    tick(dispatcher)
    assert set(published(redis)) == {*high, low[0], *free}
    [running] = claim(database, high[0])
    tick(dispatcher)
    assert low[1] not in published(redis)
    with database.write() as session:
        ledger.finish(session, [ledger.Result(running.id, running.attempt, [])])
    tick(dispatcher)
    assert set(published(redis)) == {*high, *low[:2], *free}


def test_a_paused_bulk_releases_nothing_until_it_is_resumed(
    database: Database, catalogue: Catalogue, redis: Redis, make_dispatcher: Callable[..., Any]
):
    with database.write() as session:
        bulk_id = ledger.open_bulk(session, TENANT)
    ids = submit(database, catalogue, 3, bulk_id=bulk_id)
    dispatcher = make_dispatcher()
    tick(dispatcher)
    assert not published(redis), "released a job of a bulk that is still loading"
    with database.write() as session:
        assert ledger.seal_bulk(session, bulk_id, 3)
        assert ledger.pause_bulk(session, bulk_id, paused=True)
    tick(dispatcher)
    assert not published(redis)
    with database.write() as session:
        assert ledger.pause_bulk(session, bulk_id, paused=False)
    tick(dispatcher)
    assert set(published(redis)) == set(ids)


def test_the_release_window_is_refilled_as_jobs_are_claimed(
    database: Database, catalogue: Catalogue, redis: Redis, make_dispatcher: Callable[..., Any]
):
    ids = submit(database, catalogue, 20)
    dispatcher = make_dispatcher()
    for claimed in (0, 2, 5):
        claim(database, *ids[:claimed])
        tick(dispatcher)
        with database.read() as session:
            assert release_queries.unclaimed_jobs(session, MODEL) == {Lane.LOW: 8}
        assert len(published(redis)) == 8 + claimed


def test_the_queue_state_includes_the_release_time_of_the_oldest_message(
    database: Database, catalogue: Catalogue, redis: Redis, make_dispatcher: Callable[..., Any]
):
    assert all(queue.oldest_at is None for queue in RedisQueues(redis).read_states(MODEL).values())
    [job_id] = submit(database, catalogue)
    tick(make_dispatcher())
    queue = RedisQueues(redis).read_states(MODEL)[Lane.LOW]
    assert (queue.length, queue.oldest_jobs) == (1, [job_id])
    assert queue.oldest_at == pytest.approx(job(database, job_id).released_at, abs=1e-3)


def test_a_scheduled_job_is_released_once_due_and_delays_no_other(
    database: Database, catalogue: Catalogue, redis: Redis, make_dispatcher: Callable[..., Any]
):
    dispatcher = make_dispatcher()
    scheduled = submit(database, catalogue, 3, not_before=HOUR)
    ready = submit(database, catalogue, 3)
    tick(dispatcher)
    assert set(published(redis)) == set(ready)
    with database.write() as session:
        session.execute(update(Job).where(Job.id == scheduled[1]).values(not_before=now() - 1))
    tick(dispatcher)
    assert set(published(redis)) == {*ready, scheduled[1]}


def test_a_job_due_while_no_dispatcher_leads_is_released_by_the_next_one(
    database: Database, catalogue: Catalogue, redis: Redis, make_dispatcher: Callable[..., Any]
):
    [job_id] = submit(database, catalogue, not_before=HOUR)
    with database.write() as session:
        for duty in ("dispatch", "repair"):
            assert ledger.acquire_leadership(session, duty, "a dispatcher that died", HOUR)
        session.execute(update(Job).where(Job.id == job_id).values(not_before=now() - 1))
    dispatcher = make_dispatcher()
    with pytest.raises(NotLeading):
        tick(dispatcher)
    assert not published(redis)
    with database.write() as session:
        session.execute(update(Leader).values(until=0.0))
    tick(dispatcher)
    assert set(published(redis)) == {job_id}


def test_many_scheduled_jobs_that_are_due_at_once_start_in_one_round(
    database: Database, catalogue: Catalogue, redis: Redis, make_dispatcher: Callable[..., Any]
):
    submit(database, catalogue, 2500, not_before=HOUR)
    with database.write() as session:
        session.execute(update(Job).values(not_before=1.0))
    make_dispatcher().repair()
    with database.read() as session:
        assert session.scalar(select(func.count()).where(Job.not_before.is_not(None))) == 0


def test_a_retried_job_is_released_again_after_its_backoff(
    database: Database, catalogue: Catalogue, redis: Redis, make_dispatcher: Callable[..., Any]
):
    [job_id] = submit(database, catalogue, max_retries=1)
    dispatcher = make_dispatcher()
    tick(dispatcher)
    [claimed] = claim(database, job_id)
    cast("Any", redis).flushall()
    with database.write() as session:
        change = ledger.fail(session, ledger.Result(job_id, claimed.attempt, error=StorageFailed()))
        assert change is not None
        session.execute(update(Job).where(Job.id == job_id).values(not_before=now() + HOUR))
    tick(dispatcher)
    assert not published(redis)
    with database.write() as session:
        session.execute(update(Job).where(Job.id == job_id).values(not_before=now() - 1))
    tick(dispatcher)
    assert set(published(redis)) == {job_id}


def test_retention_pauses_briefly_only_while_more_is_due_and_nothing_fails(
    database: Database, catalogue: Catalogue, make_dispatcher: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retention, "ROWS", 2)
    monkeypatch.setattr(dispatcher_module, "RETENTION_PAUSE", HOUR)
    ids = submit(database, catalogue, 3)
    with database.write() as session:
        ledger.cancel(session, Job.id.in_(ids))
        session.execute(update(Job).values(finished_at=now() - HOUR))
        session.execute(update(Tenant).where(Tenant.id == TENANT).values(keep_jobs_days=0.01))
    dispatcher = make_dispatcher()
    listed: list[float] = []
    monkeypatch.setattr(dispatcher._sweep, "finish_deletions", lambda: listed.append(0))
    pauses = [dispatcher.retain() for _ in range(3)]  # two passes for the jobs, and one for all that is kept for a time
    assert max(pauses[:2]) < HOUR == pauses[2]
    assert len(listed) == 1
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 0

    def refuse(*_: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(dispatcher._retention, "_done", refuse)
    dispatcher._retention._ran_at = float("-inf")
    assert [dispatcher.retain() for _ in range(2)] == [HOUR] * 2
