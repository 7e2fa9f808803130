"""The dispatcher's rounds, with a real Valkey and both databases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, cast

import pytest
from redis import Redis
from sqlalchemy import func, select, update

from limner_dispatcher import leadership, release, repair
from limner_dispatcher.dispatcher import Dispatcher
from limner_dispatcher.leadership import NotLeading
from limner_shared.db import ledger, queries
from limner_shared.db.engine import Database, now
from limner_shared.db.ledger import Released
from limner_shared.db.tables import Job, Leader, Tenant
from limner_shared.domain.cards import Catalogue
from limner_shared.domain.jobs import JobRequest, Lane, Priority
from limner_shared.errors import StorageFailed
from limner_shared.messaging.celery_app import make_celery, publish, queue_name
from limner_shared.messaging.hints import connect
from limner_shared.messaging.redis_queues import RedisQueues, jobs_of
from limner_shared.settings import Settings

MODEL = "limner-flow"
TENANT = ledger.LOCAL_TENANT
OTHER = "tenant_other"
MINUTE = 60.0
HOUR = 60 * MINUTE


@pytest.fixture(autouse=True)
def _long_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use timeouts that a slow machine cannot reach, unless a test changes them."""
    monkeypatch.setattr(leadership, "LEAD_SECONDS", MINUTE)
    monkeypatch.setattr(release, "FORGOTTEN_SECONDS", MINUTE)


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    client = connect(redis_url)
    yield client
    client.close()


@pytest.fixture
def make_dispatcher(
    settings: Settings, catalogue: Catalogue, database: Database, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Any]]:
    """Creates dispatchers with changed settings; expired leases get no extra time for renewal."""
    monkeypatch.setattr(repair, "RENEWAL_SECONDS", 0.0)
    celery, client = make_celery(settings), connect(settings.redis_url, decode_responses=False)

    def make_dispatcher(**changed: Any) -> Dispatcher:
        changed_settings = settings.model_copy(update={"release_window": 8, "max_release_window": 8, **changed})
        return Dispatcher(changed_settings, catalogue, database, client, celery)

    yield make_dispatcher
    celery.close()
    client.close()


def tick(dispatcher: Dispatcher) -> None:
    """Run one round of each of the dispatcher's threads, in sequence."""
    dispatcher.repair()
    dispatcher.release()


def submit(
    database: Database,
    catalogue: Catalogue,
    count: int = 1,
    tenant: str = TENANT,
    priority: Priority = Priority.LOW,
    bulk_id: str | None = None,
    not_before: float | None = None,
    max_retries: int = 0,
) -> list[str]:
    """Queue jobs that the dispatcher has to release, `not_before` in seconds from now; returns their ids."""
    card, spec = catalogue.resolve(JobRequest(prompt="a red apple", seed=1))
    new_job = ledger.NewJob(spec, card.cost(spec), priority, max_retries=max_retries)
    jobs = [replace(new_job, bulk_line=line if bulk_id else None) for line in range(count)]
    with database.write() as session:
        if not_before is not None:
            jobs = [replace(job, not_before=(session.scalar(select(now())) or 0) + not_before) for job in jobs]
        ledger.ensure_tenant(session, tenant, tenant)
        return [change.id for change in ledger.submit(session, tenant, jobs, bulk_id=bulk_id).changes]


def claim(database: Database, *ids: str, lease: float = 60) -> list[ledger.Claim]:
    with database.write() as session:
        return ledger.claim(session, ids, "a worker", lease)


def job(database: Database, job_id: str) -> Job:
    with database.read() as session:
        found = session.get(Job, job_id)
    assert found is not None
    return found


def messages(redis: Redis, lane: Lane) -> list[list[str]]:
    """The job ids in each message of a lane, oldest message first."""
    return [jobs_of(raw)[0] for raw in reversed(redis.lrange(queue_name(MODEL, lane), 0, -1))]


def published(redis: Redis) -> Counter[str]:
    """The number of messages for each job id, over all lanes."""
    return Counter(name for lane in Lane for message in messages(redis, lane) for name in message)


def remove_message(redis: Redis, lane: Lane, job_id: str) -> None:
    """Remove a job's message from its queue, as if a worker had fetched it or it was lost."""
    [raw] = [raw for raw in redis.lrange(queue_name(MODEL, lane), 0, -1) if job_id in jobs_of(raw)[0]]
    assert redis.lrem(queue_name(MODEL, lane), 1, cast(str, raw)) == 1


def release_in_the_past(
    database: Database, redis: Redis, dispatcher: Dispatcher, ids: list[str], seconds_ago: list[float]
) -> Dispatcher:
    """Release each job to LOW with its own message, as if this was done `seconds_ago`; returns the dispatcher."""
    tick(dispatcher)
    assert set(published(redis)) == set(ids)
    redis.flushall()
    for job_id, ago in zip(ids, seconds_ago, strict=True):
        at = (job(database, job_id).released_at or 0) - ago
        with database.write() as session:
            session.execute(update(Job).where(Job.id == job_id).values(released_at=at))
        publish(dispatcher._releaser._celery, MODEL, [Released(job_id, Lane.LOW, at)])
    return dispatcher


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
    redis.flushall()
    with pytest.raises(NotLeading):
        tick(second)
    assert not published(redis)

    monkeypatch.setattr(leadership, "LEAD_SECONDS", -1.0)  # its leadership expires at once
    tick(first)
    redis.flushall()
    monkeypatch.setattr(leadership, "LEAD_SECONDS", MINUTE)
    monkeypatch.setattr(release, "FORGOTTEN_SECONDS", -1.0)
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
    bulks = []
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


def test_jobs_lost_in_a_redis_flush_are_released_again_in_order(
    database: Database,
    catalogue: Catalogue,
    redis: Redis,
    make_dispatcher: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
):
    ids = submit(database, catalogue, 5)
    dispatcher = make_dispatcher()
    tick(dispatcher)
    order = messages(redis, Lane.LOW)
    redis.flushall()
    tick(dispatcher)
    assert not published(redis), "released again although a worker may have fetched it"
    monkeypatch.setattr(release, "FORGOTTEN_SECONDS", -1.0)
    tick(dispatcher)
    assert messages(redis, Lane.LOW) == order == [[job_id] for job_id in ids]


def test_claimed_jobs_are_not_released_again(
    database: Database,
    catalogue: Catalogue,
    redis: Redis,
    make_dispatcher: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
):
    ids = submit(database, catalogue, 3)
    dispatcher = make_dispatcher()
    tick(dispatcher)
    claim(database, ids[1])
    redis.flushall()
    monkeypatch.setattr(release, "FORGOTTEN_SECONDS", -1.0)
    tick(dispatcher)
    assert set(published(redis)) == {ids[0], ids[2]}


def test_queued_messages_are_not_released_again_at_any_age(
    database: Database, catalogue: Catalogue, redis: Redis, make_dispatcher: Callable[..., Any]
):
    ids = submit(database, catalogue, 3)
    dispatcher = release_in_the_past(database, redis, make_dispatcher(), ids, [HOUR, HOUR, HOUR])
    tick(dispatcher)
    assert messages(redis, Lane.LOW) == [[job_id] for job_id in ids]


def test_a_lost_message_is_detected_even_if_the_queue_is_not_empty(
    database: Database, catalogue: Catalogue, redis: Redis, make_dispatcher: Callable[..., Any]
):
    served, lost, standing = submit(database, catalogue, 3)
    dispatcher = release_in_the_past(
        database, redis, make_dispatcher(), [served, lost, standing], [HOUR, HOUR - 5 * MINUTE, HOUR - 10 * MINUTE]
    )
    remove_message(redis, Lane.LOW, lost)
    tick(dispatcher)
    assert messages(redis, Lane.LOW) == [[served], [standing]], (
        "released again although an older message is still queued"
    )
    remove_message(redis, Lane.LOW, served)
    claim(database, served)
    tick(dispatcher)
    assert messages(redis, Lane.LOW) == [[standing], [lost]]
    tick(dispatcher)
    assert messages(redis, Lane.LOW) == [[standing], [lost]]


def test_a_foreign_message_causes_no_second_release(
    database: Database, catalogue: Catalogue, redis: Redis, make_dispatcher: Callable[..., Any]
):
    ids = submit(database, catalogue, 2)
    dispatcher = release_in_the_past(database, redis, make_dispatcher(), ids, [HOUR, HOUR])
    redis.rpush(queue_name(MODEL, Lane.LOW), "not a message")
    tick(dispatcher)
    assert set(published(redis).values()) == {1}


def test_a_job_that_lost_two_workers_is_released_to_run_alone(
    database: Database, catalogue: Catalogue, redis: Redis, make_dispatcher: Callable[..., Any]
):
    suspect, innocent = submit(database, catalogue, 2, priority=Priority.HIGH)
    dispatcher = make_dispatcher()
    for lost in (1, 2):
        claim(database, suspect, lease=-1)
        redis.flushall()
        tick(dispatcher)
        assert job(database, suspect).losses == lost
        assert (messages(redis, Lane.ALONE) == [[suspect]]) is (lost == 2)
    assert job(database, suspect).lane == Lane.ALONE
    assert job(database, innocent).lane != Lane.ALONE


def test_the_oldest_message_of_a_starved_lane_moves_to_the_lane_above(
    database: Database, catalogue: Catalogue, redis: Redis, make_dispatcher: Callable[..., Any]
):
    high = submit(database, catalogue, 4, OTHER, Priority.HIGH)
    normal = submit(database, catalogue, 2, OTHER, Priority.NORMAL)
    low = submit(database, catalogue, 2)
    dispatcher = make_dispatcher(aging_seconds=1e-6)
    tick(dispatcher)
    tick(dispatcher)
    assert messages(redis, Lane.LOW) == [low[:1], low[1:]], "moved before the lane above was served"
    remove_message(redis, Lane.HIGH, high[1])  # the first one is in FIRST
    claim(database, high[1])
    tick(dispatcher)
    assert messages(redis, Lane.HIGH) == [[high[2]], [high[3]], [normal[0]]]
    assert messages(redis, Lane.NORMAL) == [[normal[1]], [low[0]]]
    assert messages(redis, Lane.LOW) == [[low[1]]]
    lanes = {job_id: job(database, job_id).lane for job_id in [*normal, *low]}
    assert lanes == {normal[0]: Lane.HIGH, normal[1]: Lane.NORMAL, low[0]: Lane.NORMAL, low[1]: Lane.LOW}


def test_a_message_that_moved_up_is_not_treated_as_lost(
    database: Database, catalogue: Catalogue, redis: Redis, make_dispatcher: Callable[..., Any]
):
    low = submit(database, catalogue)
    dispatcher = release_in_the_past(database, redis, make_dispatcher(aging_seconds=1e-6), low, [HOUR])
    high = submit(database, catalogue, 3, OTHER, Priority.HIGH)
    normal = submit(database, catalogue, 3, OTHER, Priority.NORMAL)
    tick(dispatcher)
    tick(dispatcher)
    remove_message(redis, Lane.HIGH, high[1])
    claim(database, high[1])
    tick(dispatcher)
    assert messages(redis, Lane.NORMAL) == [[normal[1]], [normal[2]], low]
    tick(dispatcher)
    assert published(redis)[low[0]] == 1


def test_a_job_that_the_previous_version_queued_without_a_queue_key_is_released(
    database: Database, catalogue: Catalogue, redis: Redis, make_dispatcher: Callable[..., Any]
):
    ids = submit(database, catalogue, 2)
    with database.write() as session:
        session.execute(update(Job).where(Job.id == ids[1]).values(queue_key=""))
    tick(make_dispatcher())
    assert set(published(redis)) == set(ids)


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
            assert queries.in_window(session, MODEL) == {Lane.LOW: 8}
        assert len(published(redis)) == 8 + claimed


def test_the_queue_state_includes_the_release_time_of_the_oldest_message(
    database: Database, catalogue: Catalogue, redis: Redis, make_dispatcher: Callable[..., Any]
):
    assert all(standing.oldest_at is None for standing in RedisQueues(redis).look(MODEL).values())
    [job_id] = submit(database, catalogue)
    tick(make_dispatcher())
    standing = RedisQueues(redis).look(MODEL)[Lane.LOW]
    assert (standing.length, standing.oldest_jobs) == (1, [job_id])
    assert standing.oldest_at == pytest.approx(job(database, job_id).released_at, abs=1e-3)


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
    redis.flushall()
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
