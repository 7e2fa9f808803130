"""The dispatcher continues despite failing items, stalled threads and invalid data."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from psycopg.errors import QueryCanceled
from redis import Redis
from sqlalchemy import event, func, insert, select, text, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from tests.buckets import unresponsive_bucket
from tests.processes import eventually
from tests.unit.dispatcher.dispatcher_processes import (
    MODEL,
    TENANT,
    expire_lease,
    make_dispatcher,
    new_jobs,
    published,
    redis,
    running,
    submit,
    tick,
)

from limner_dispatcher import dispatcher as module
from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.db.tables import Bulk, Image, Job
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.ids import new_id
from limner_shared.domain.jobs import Lane
from limner_shared.messaging import reports
from limner_shared.messaging.celery_app import queue_name
from limner_shared.messaging.hints import WAKE_CHANNEL

__all__ = ["make_dispatcher", "redis"]

OTHER = "tenant_other"


def dropped_bulk(database: Database, catalogue: Catalogue) -> tuple[str, str]:
    """Create a dropped bulk with one job; returns the ids of both."""
    with database.write() as session:
        bulk_id = ledger.open_bulk(session, TENANT)
        [change] = ledger.submit(session, TENANT, new_jobs(catalogue, bulk_line=1), bulk_id=bulk_id).changes
        ledger.drop_bulk(session, bulk_id)
    return bulk_id, change.id


def test_a_bulk_that_cannot_be_deleted_does_not_stop_other_work(
    make_dispatcher: Callable[..., Any], database: Database, catalogue: Catalogue, redis: Redis
):
    (bad, job_id), (good, _) = dropped_bulk(database, catalogue), dropped_bulk(database, catalogue)
    picture = {"id": "img_1", "job_id": job_id, "image_index": 0, "sha256": "ab" * 32, "media_type": "image/png"}
    picture |= {"width": 1, "height": 1, "size_bytes": 1, "seed": 1, "receipt": {}, "created_at": 1.0}
    with database.write() as session:
        session.execute(insert(Image).values(picture))  # our code cannot create this row: it represents any fault
    lost, waiting = submit(database, new_jobs(catalogue, 2))
    expire_lease(database, lost)
    dispatcher = make_dispatcher()
    tick(dispatcher)
    assert {lost, waiting} <= published(redis)
    with database.read() as session:
        assert list(session.scalars(select(Bulk.id))) == [bad]
    [aside] = dispatcher.runner.failing_items()
    assert (aside.duty, aside.item, aside.error) == ("sweep bulks", bad, "IntegrityError")
    with database.write() as session:
        session.execute(text("DELETE FROM images"))

    def swept() -> bool:
        dispatcher.repair()
        return not dispatcher.runner.failing_items()

    eventually(swept)
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Bulk)) == 0
    assert good != bad


def test_a_model_with_an_unreadable_queue_does_not_stop_other_models(
    make_dispatcher: Callable[..., Any], database: Database, catalogue: Catalogue, redis: Redis
):
    names = sorted(catalogue.cards)
    redis.set(queue_name(names[0], Lane.LOW), "not a list")
    ids = {name: submit(database, new_jobs(catalogue, model=name)) for name in names}
    dispatcher = make_dispatcher()
    tick(dispatcher)
    assert [published(redis, name) == set(ids[name]) for name in names[1:]] == [True] * (len(names) - 1)
    assert [aside.item for aside in dispatcher.runner.failing_items()] == names[:1]


def test_invalid_utf8_in_a_queue_or_wakeup_message_stops_nothing(
    make_dispatcher: Callable[..., Any], database: Database, catalogue: Catalogue, redis: Redis
):
    redis.rpush(queue_name(MODEL, Lane.LOW), b"\xff")
    dispatcher = make_dispatcher(run=True)
    eventually(lambda: "dispatch" in dispatcher._supervisor.activity() or dispatcher._leads["dispatch"].leads)
    for _ in range(3):
        cast("Any", redis).publish(WAKE_CHANNEL, b"\xff\xfe")
        [job_id] = submit(database, new_jobs(catalogue))
        eventually(lambda job_id=job_id: job_id in published(redis), 10)


@pytest.fixture
def unresponsive_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a bucket whose server accepts connections and never responds."""
    with unresponsive_bucket(monkeypatch) as url:
        yield url


def test_a_hanging_object_store_stops_neither_release_nor_reaping(
    make_dispatcher: Callable[..., Any], database: Database, catalogue: Catalogue, redis: Redis, unresponsive_store: str
):
    dispatcher = make_dispatcher(run=True, blob_url=unresponsive_store)
    eventually(lambda: (dispatcher._supervisor.activity().get("retention") or 0) > 0.5)
    [lost] = submit(database, new_jobs(catalogue))
    expire_lease(database, lost)
    eventually(lambda: lost in published(redis), 10)
    assert dispatcher._supervisor.activity()["retention"] is not None, "the store no longer hangs"


def test_a_stalled_thread_ends_the_process(make_dispatcher: Callable[..., Any], monkeypatch: pytest.MonkeyPatch):
    ended: list[str] = []
    stalled = threading.Event()
    monkeypatch.setattr(module, "RETENTION_STALLED_SECONDS", 0.1)
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.05)

    def end(name: str, _error: BaseException) -> None:
        ended.append(name)
        stalled.set()

    monkeypatch.setattr(module, "end_process", end)
    dispatcher = make_dispatcher()
    monkeypatch.setattr(dispatcher._retention, "run", stalled.wait)
    with running(dispatcher):
        eventually(lambda: ended)
    assert set(ended) == {"retention"}


@pytest.mark.parametrize(
    "error",
    [OperationalError("SELECT", {}, QueryCanceled("statement timeout")), PoolTimeout("no free connection")],
    ids=["a canceled statement", "an exhausted pool"],
)
def test_a_passing_error_of_the_database_does_not_end_the_process(
    make_dispatcher: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, error: Exception
):
    ended: list[str] = []

    def end(name: str, _error: BaseException) -> None:
        ended.append(name)

    monkeypatch.setattr(module, "end_process", end)
    dispatcher = make_dispatcher()
    rounds = iter([error])
    done = threading.Event()

    def deliver() -> float:
        for failure in rounds:
            raise failure
        done.set()
        return 1.0

    monkeypatch.setattr(dispatcher, "deliver", deliver)
    with running(dispatcher):
        assert done.wait(10)
    assert ended == []


def test_a_dispatcher_publishes_a_report_until_it_ends(
    make_dispatcher: Callable[..., Any],
    database: Database,
    catalogue: Catalogue,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.1)
    redis.set(queue_name(MODEL, Lane.LOW), "not a list")
    submit(database, new_jobs(catalogue))
    dispatcher = make_dispatcher()

    def report() -> reports.DispatcherReport | None:
        found = [
            one
            for one in reports.read_reports(redis, reports.DispatcherReport)
            if one.set_aside and {"dispatch", "repair", "clean"} <= set(one.leads)
        ]
        return found[0] if found else None

    with running(dispatcher):
        found = eventually(report)
    assert found.owner == dispatcher.owner
    assert found.leads == ["dispatch", "repair", "clean"]
    assert (found.set_aside[0].duty, found.set_aside[0].item, found.set_aside_count) == ("release", MODEL, 1)
    assert found.failures["release"] >= 1
    threads = {"release", "repair", "retention", "statistics", "metrics", "webhooks", "webhook hints"}
    assert set(found.threads) - {"notifications"} == threads  # only PostgreSQL notifies
    assert reports.read_reports(redis, reports.DispatcherReport) == []


def test_an_unreadable_report_is_skipped(redis: Redis):
    redis.set(reports.DISPATCHERS + "x", b"\xff{")
    redis.set(reports.DISPATCHERS + "y", b"{}")
    assert reports.read_reports(redis, reports.DispatcherReport) == []


@pytest.mark.long
def test_ten_thousand_queues_of_one_tenant_are_all_served_and_delay_no_other_tenant(
    make_dispatcher: Callable[..., Any], database: Database, catalogue: Catalogue, redis: Redis
):
    lines, room = 10_000, 1000
    bulks = [new_id("bulk") for _ in range(lines)]
    values = {"tenant_id": TENANT, "state": "open", "total": 1, "created_at": 1.0, "touched_at": 1.0}
    with database.write() as session:
        session.execute(insert(Bulk), [{"id": bulk_id} | values for bulk_id in bulks])
    ids = submit(database, new_jobs(catalogue, lines))
    with database.write() as session:
        session.connection().execute(
            text("UPDATE jobs SET bulk_id = :bulk, bulk_line = 1, flow = :bulk WHERE id = :id"),
            [{"bulk": bulk_id, "id": job_id} for bulk_id, job_id in zip(bulks, ids, strict=True)],
        )
    others = submit(database, new_jobs(catalogue, 6), OTHER)
    dispatcher = make_dispatcher(release_window=room, max_release_window=room)
    statements = 0

    @event.listens_for(database.engine, "before_cursor_execute")
    def count(*_: object) -> None:
        nonlocal statements
        statements += 1

    dispatcher.release()
    assert set(others) <= published(redis)
    assert statements < room / 4
    released: set[str] = set()
    for _ in range(lines // room + 1):
        released |= published(redis)
        cast("Any", redis).flushall()
        with database.write() as session:
            session.execute(update(Job).where(Job.released_at.is_not(None)).values(state="succeeded"))
        dispatcher.release()
    assert released == {*ids, *others}
