"""Messages that are lost, moved or foreign, with a real Valkey and both databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from redis import Redis
from sqlalchemy import select, update
from tests.dispatchers import (
    HOUR,
    MINUTE,
    MODEL,
    OTHER,
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

from limner_dispatcher import release
from limner_dispatcher.dispatcher import Dispatcher
from limner_shared import metrics
from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.db.ledger import Released
from limner_shared.db.tables import Job
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import Lane, Priority
from limner_shared.domain.pauses import Paused
from limner_shared.messaging.celery_app import publish, queue_name
from limner_shared.messaging.redis_queues import jobs_of

__all__ = ["_long_timeouts", "make_dispatcher", "redis"]


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
    cast("Any", redis).flushall()
    for job_id, ago in zip(ids, seconds_ago, strict=True):
        at = (job(database, job_id).released_at or 0) - ago
        with database.write() as session:
            session.execute(update(Job).where(Job.id == job_id).values(released_at=at))
        publish(dispatcher._releaser._celery, MODEL, [Released(job_id, Lane.LOW, at)])
    return dispatcher


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
    cast("Any", redis).flushall()
    tick(dispatcher)
    assert not published(redis), "released again although a worker may have fetched it"
    monkeypatch.setattr(release, "MESSAGE_LOST_SECONDS", -1.0)
    counted: list[tuple[int, str]] = []

    def count(amount: int, *, model: str) -> None:
        counted.append((amount, model))

    monkeypatch.setattr(metrics.JOBS_RELEASED_AGAIN, "inc", count)
    tick(dispatcher)
    assert messages(redis, Lane.LOW) == order == [[job_id] for job_id in ids]
    assert counted == [(len(ids), MODEL)]


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
    cast("Any", redis).flushall()
    monkeypatch.setattr(release, "MESSAGE_LOST_SECONDS", -1.0)
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
        cast("Any", redis).flushall()
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


@pytest.mark.parametrize("recalled", [True, False])
def test_a_job_that_was_recalled_or_canceled_is_not_recorded_as_moved_to_another_lane(
    database: Database, catalogue: Catalogue, recalled: bool
):
    ids = submit(database, catalogue, 2)
    with database.write() as session:
        ledger.release(session, Lane.LOW, ids)
        if recalled:
            ledger.recall(session, MODEL, Paused(frozenset({MODEL})))
        else:
            ledger.cancel(session, Job.id.in_(ids))
        [moved, _] = before = session.execute(select(Job.id, Job.lane, Job.released_at).order_by(Job.id)).all()
        ledger.promote(session, {moved.id: Lane.NORMAL})
        assert session.execute(select(Job.id, Job.lane, Job.released_at).order_by(Job.id)).all() == before
