"""The dispatcher continues despite failing items, locked rows, invalid data in Redis and a hanging object store."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import event, func, insert, select, text, update
from sqlalchemy.exc import DBAPIError
from tests.processes import eventually

from limner_dispatcher import dispatcher as module
from limner_dispatcher import repair
from limner_dispatcher.dispatcher import Dispatcher
from limner_dispatcher.leadership import NotLeading
from limner_shared.db import ledger
from limner_shared.db.engine import Database, now
from limner_shared.db.postgresql_engine import CONNECTION_LIMITS, TRANSACTION_LIMITS
from limner_shared.db.tables import Bulk, Image, Job
from limner_shared.domain.cards import Catalogue
from limner_shared.domain.ids import new_id
from limner_shared.domain.jobs import JobRequest, Lane, Priority
from limner_shared.messaging import reports
from limner_shared.messaging.celery_app import make_celery, queue_name
from limner_shared.messaging.hints import WAKE_CHANNEL, connect
from limner_shared.messaging.redis_queues import jobs_of
from limner_shared.settings import Settings

MODEL = "limner-flow"
TENANT = ledger.LOCAL_TENANT
OTHER = "tenant_other"
postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    client = connect(redis_url, decode_responses=False)
    yield client
    client.close()


@pytest.fixture
def make_dispatcher(
    settings: Settings, catalogue: Catalogue, database: Database, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Any]]:
    """Creates dispatchers with changed settings; expired leases get no extra time. Threads end with the test."""
    monkeypatch.setattr(repair, "RENEWAL_SECONDS", 0.0)
    celery, exit_stack = make_celery(settings), ExitStack()

    def make_dispatcher(*, run: bool = False, on: Database = database, **changed: Any) -> Dispatcher:
        made = Dispatcher(settings.model_copy(update=changed), catalogue, on, redis, celery)
        if run:
            exit_stack.enter_context(running(made))
        return made

    with exit_stack:
        yield make_dispatcher
    celery.close()


@contextmanager
def running(dispatcher: Dispatcher) -> Iterator[None]:
    """Run the dispatcher's threads until the end of the block."""
    stopping = threading.Event()
    thread = threading.Thread(target=dispatcher.run, args=(stopping,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(30)


def new_jobs(catalogue: Catalogue, count: int = 1, model: str = MODEL, **more: Any) -> list[ledger.NewJob]:
    card, spec = catalogue.resolve(JobRequest(prompt="a red apple", seed=1, model=model))
    return [ledger.NewJob(spec, card.cost(spec), Priority.LOW, **more) for _ in range(count)]


def submit(
    database: Database, jobs: list[ledger.NewJob], tenant: str = TENANT, bulk_id: str | None = None
) -> list[str]:
    with database.write() as session:
        ledger.ensure_tenant(session, tenant, tenant)
        return [change.id for change in ledger.submit(session, tenant, jobs, bulk_id=bulk_id).changes]


def tick(dispatcher: Dispatcher) -> None:
    dispatcher.repair()
    dispatcher.release()


def published(redis: Redis, model: str = MODEL) -> set[str]:
    lists = [redis.lrange(queue_name(model, lane), 0, -1) for lane in Lane]
    return {name for messages in lists for raw in messages for name in jobs_of(raw)[0]}


def state(database: Database, job_id: str) -> str | None:
    with database.read() as session:
        return session.scalar(select(Job.state).where(Job.id == job_id))


def expire_lease(database: Database, job_id: str) -> None:
    """Claim a job with an expired lease, as if its worker had died."""
    with database.write() as session:
        assert ledger.claim(session, [job_id], "a dead worker", -1)


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
    [aside] = dispatcher.isolation.set_aside()
    assert (aside.duty, aside.item, aside.error) == ("sweep bulks", bad, "IntegrityError")
    with database.write() as session:
        session.execute(text("DELETE FROM images"))

    def swept() -> bool:
        dispatcher.repair()
        return not dispatcher.isolation.set_aside()

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
    assert [aside.item for aside in dispatcher.isolation.set_aside()] == names[:1]


def test_invalid_utf8_in_a_queue_or_wakeup_message_stops_nothing(
    make_dispatcher: Callable[..., Any], database: Database, catalogue: Catalogue, redis: Redis
):
    redis.rpush(queue_name(MODEL, Lane.LOW), b"\xff")
    dispatcher = make_dispatcher(run=True)
    eventually(lambda: "dispatch" in dispatcher._supervisor.activity() or dispatcher._leads["dispatch"].leads)
    for _ in range(3):
        redis.publish(WAKE_CHANNEL, b"\xff\xfe")
        [job_id] = submit(database, new_jobs(catalogue))
        eventually(lambda job_id=job_id: job_id in published(redis), 10)


@pytest.fixture
def unresponsive_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a bucket whose server accepts connections and never responds."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        monkeypatch.setenv("AWS_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        for name, value in {
            "ALLOW_HTTP": "true",
            "ACCESS_KEY_ID": "a",
            "SECRET_ACCESS_KEY": "b",
            "REGION": "x",
        }.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        yield "s3://pictures"


def test_a_hanging_object_store_stops_neither_release_nor_reaping(
    make_dispatcher: Callable[..., Any], database: Database, catalogue: Catalogue, redis: Redis, unresponsive_store: str
):
    dispatcher = make_dispatcher(run=True, blob_url=unresponsive_store)
    eventually(lambda: (dispatcher._supervisor.activity().get("cleaning") or 0) > 0.5)
    [lost] = submit(database, new_jobs(catalogue))
    expire_lease(database, lost)
    eventually(lambda: lost in published(redis), 10)
    assert dispatcher._supervisor.activity()["cleaning"] is not None, "the store no longer hangs"


def test_a_stalled_thread_ends_the_process(make_dispatcher: Callable[..., Any], monkeypatch: pytest.MonkeyPatch):
    ended: list[str] = []
    stalled = threading.Event()
    monkeypatch.setattr(module, "CLEAN_STALLED_SECONDS", 0.1)
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.05)

    def end(name: str, _error: BaseException) -> None:
        ended.append(name)
        stalled.set()

    monkeypatch.setattr(module, "end_process", end)
    dispatcher = make_dispatcher()
    monkeypatch.setattr(dispatcher._cleaner, "clean", stalled.wait)
    with running(dispatcher):
        eventually(lambda: ended)
    assert set(ended) == {"cleaning"}


def test_a_dispatcher_publishes_a_report_until_it_ends(
    make_dispatcher: Callable[..., Any],
    database: Database,
    catalogue: Catalogue,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.1)
    redis.set(queue_name(MODEL, Lane.LOW), "not a list")
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
    threads = {"release", "repair", "cleaning", "statistics", "metrics", "webhooks", "webhook hints"}
    assert set(found.threads) - {"notifications"} == threads  # only PostgreSQL notifies
    assert reports.read_reports(redis, reports.DispatcherReport) == []


def test_an_unreadable_report_is_skipped(redis: Redis):
    redis.set(reports.DISPATCHERS + "x", b"\xff{")
    redis.set(reports.DISPATCHERS + "y", b"{}")
    assert reports.read_reports(redis, reports.DispatcherReport) == []


def test_leases_are_not_reaped_directly_after_an_outage(
    make_dispatcher: Callable[..., Any], database: Database, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
):
    [job_id] = submit(database, new_jobs(catalogue))
    expire_lease(database, job_id)
    dispatcher = make_dispatcher()
    monkeypatch.setattr(repair, "RENEWAL_SECONDS", 3600.0)
    dispatcher._repairs.outage()
    dispatcher.repair()
    assert state(database, job_id) == "running"
    monkeypatch.setattr(repair, "RENEWAL_SECONDS", 0.0)
    dispatcher._repairs.outage()
    dispatcher.repair()
    assert state(database, job_id) == "queued"


def test_leases_are_not_reaped_after_the_database_was_frozen_within_a_round(
    make_dispatcher: Callable[..., Any], database: Database, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
):
    [job_id] = submit(database, new_jobs(catalogue))
    expire_lease(database, job_id)
    has_expired_lease = repair.release_queries.has_expired_lease

    def frozen(session: Any):
        monkeypatch.setattr(repair, "GAP_SECONDS", 0.0)  # as if this read had taken longer
        return has_expired_lease(session)

    monkeypatch.setattr(repair.release_queries, "has_expired_lease", frozen)
    make_dispatcher().repair()
    assert state(database, job_id) == "running"


def test_healthy_leases_are_not_reaped_by_a_statement_in_which_the_database_was_frozen(
    make_dispatcher: Callable[..., Any], database: Database, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
):
    [job_id] = submit(database, new_jobs(catalogue))
    expire_lease(database, job_id)  # by the clock that the statement reads after the freeze
    reap, reaped = repair.ledger.reap, []

    def frozen(session: Any, *arguments: Any) -> list[Any]:
        monkeypatch.setattr(repair, "GAP_SECONDS", 0.0)  # as if this statement had taken longer
        reaped.extend(reap(session, *arguments))
        return reaped

    monkeypatch.setattr(repair.ledger, "reap", frozen)
    dispatcher = make_dispatcher()
    dispatcher.repair()
    assert [change.id for change in reaped] == [job_id]
    assert state(database, job_id) == "running"
    with database.write() as session:  # the worker renews it, as after any outage
        session.execute(update(Job).values(lease_until=now() + 60))
    monkeypatch.setattr(repair.ledger, "reap", reap)
    dispatcher.repair()
    assert state(database, job_id) == "running"


def test_leases_are_reaped_although_every_round_is_slow(
    make_dispatcher: Callable[..., Any], database: Database, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(repair, "GAP_SECONDS", 0.0)
    monkeypatch.setattr(repair, "RENEWAL_SECONDS", 0.01)
    [job_id] = submit(database, new_jobs(catalogue))
    expire_lease(database, job_id)
    dispatcher = make_dispatcher()

    def reaped() -> bool:
        dispatcher.repair()
        return state(database, job_id) == "queued"

    eventually(reaped)


# --- PostgreSQL: rows locked by a frozen process ---


@postgresql
def test_a_job_locked_by_a_frozen_worker_does_not_stop_other_jobs(
    make_dispatcher: Callable[..., Any], database: Database, catalogue: Catalogue, redis: Redis
):
    held, lost, waiting = submit(database, new_jobs(catalogue, 3))
    expire_lease(database, held)
    expire_lease(database, lost)
    with database.engine.connect() as worker:
        worker.execute(text("UPDATE jobs SET lease_until = 0 WHERE id = :id"), {"id": held})  # without COMMIT
        dispatcher = make_dispatcher()
        tick(dispatcher)
        assert dispatcher.isolation.set_aside() == []
        assert published(redis) == {lost, waiting}
    tick(dispatcher)
    assert held in published(redis)


@postgresql
def test_a_standby_takes_over_from_a_leader_frozen_in_a_transaction(
    make_dispatcher: Callable[..., Any],
    database: Database,
    database_url: str,
    catalogue: Catalogue,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("limner_dispatcher.leadership.LEAD_SECONDS", 0.5)
    monkeypatch.setitem(TRANSACTION_LIMITS, "idle_in_transaction_session_timeout", 2000)
    leader_database = Database(database_url)
    leader, standby = make_dispatcher(on=leader_database), make_dispatcher()
    [job_id] = submit(database, new_jobs(catalogue))

    def takes_over() -> bool:
        with suppress(NotLeading):
            standby.release()
        return job_id in published(redis)

    with suppress(DBAPIError), leader._leads["dispatch"].write() as session:
        assert session.scalar(text("SELECT owner FROM leaders WHERE duty = 'dispatch'")) == leader.owner
        for _ in range(3):
            with pytest.raises(NotLeading):
                standby.release()  # fails at once
        eventually(takes_over, 20)
        assert standby._leads["dispatch"].leads
    leader_database.dispose()


@postgresql
def test_connections_have_time_limits_that_migrations_and_the_url_can_override(database_url: str):
    def shown(url: str, *, limited: bool = True) -> dict[str, str]:
        database = Database(url, limited=limited)
        with database.engine.connect() as connection:
            found = {
                name: connection.scalar(text(f"SHOW {name}")) for name in {**TRANSACTION_LIMITS, **CONNECTION_LIMITS}
            }
        database.dispose()
        return found

    limits = shown(database_url)
    assert (limits["lock_timeout"], limits["statement_timeout"]) == ("4s", "30s")
    assert limits["idle_in_transaction_session_timeout"] == "6s"
    assert shown(database_url, limited=False)["statement_timeout"] == "0"
    joined = "&" if "?" in database_url else "?"
    own = shown(f"{database_url}{joined}options=-c%20statement_timeout%3D5000&connect_timeout=9")
    assert (own["statement_timeout"], own["lock_timeout"]) == ("5s", "4s")


# --- many queues ---


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
        redis.flushall()
        with database.write() as session:
            session.execute(update(Job).where(Job.released_at.is_not(None)).values(state="succeeded"))
        dispatcher.release()
    assert released == {*ids, *others}
