"""While Redis is away, submitted jobs are notified through PostgreSQL. Each test shows the path: nothing polls."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import text
from tests.conftest import copy_of_database
from tests.processes import eventually

from limner_dispatcher.dispatcher import Dispatcher
from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.db.notifications import WaitingListener, notify_waiting
from limner_shared.db.tables import Job
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, Priority
from limner_shared.messaging.celery_app import make_celery
from limner_shared.messaging.hints import WAKE_CHANNEL, Hints, connect
from limner_shared.messaging.typed_redis import subscription
from limner_shared.messaging.wakeups import WakeUps
from limner_shared.settings import Settings
from limner_shared.threads import Supervisor
from limner_web.app import create_app
from limner_worker.runtime.admission import Admission
from limner_worker.runtime.claiming import Claimer
from limner_worker.runtime.held_jobs import HeldJobs

NO_REDIS = "redis://127.0.0.1:1/0"
JOBS = "/api/v1/jobs"


@pytest.fixture(params=["postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with copy_of_database(request, tmp_path) as url:
        yield url


@pytest.fixture
def failures() -> list[BaseException]:
    return []


@pytest.fixture
def listen(database: Database, failures: list[BaseException]) -> Iterator[Callable[[], list[int]]]:
    """Starts a listener; returns a list that grows with each wake-up."""
    started: list[WaitingListener] = []

    def start() -> list[int]:
        woken: list[int] = []
        supervisor = Supervisor(lambda _name, error: failures.append(error))
        started.append(WaitingListener(database, supervisor, lambda: woken.append(1)))
        started[-1].start()
        eventually(lambda: woken)  # by the connection
        return woken

    yield start
    for listener in started:
        listener.stop()
    assert failures == []


@pytest.fixture
def make_client(settings: Settings, database_url: str) -> Iterator[Callable[..., Any]]:
    apps: list[Any] = []

    def make(redis_url: str):
        apps.append(create_app(settings.model_copy(update={"database_url": database_url, "redis_url": redis_url})))
        return apps[-1].test_client()

    yield make
    for app in apps:
        app.extensions["limner"].key_usage.close()
        app.extensions["limner"].database.dispose()


def notify(database: Database) -> None:
    with database.write() as session:
        notify_waiting(session)


def terminate_listeners(database: Database) -> int:
    query = text(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE query LIKE 'LISTEN%' AND datname = current_database()"
    )
    with database.write() as session:
        return session.scalar(query) or 0


def test_a_notification_wakes_on_commit_only(database: Database, listen: Callable[[], list[int]]):
    woken = listen()
    with database.write() as session:
        notify_waiting(session)
        session.rollback()
    notify(database)
    eventually(lambda: len(woken) == 2)
    assert len(woken) == 2


def test_a_listener_connects_again_and_looks_once_for_what_it_missed(
    database: Database, listen: Callable[[], list[int]]
):
    woken = listen()
    assert terminate_listeners(database) == 1
    eventually(lambda: len(woken) == 2)
    notify(database)
    eventually(lambda: len(woken) == 3)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_sqlite_has_no_notifications_and_its_users_poll(database: Database):
    listener = WaitingListener(database, Supervisor(), lambda: None)
    listener.start()
    notify(database)
    assert not listener.listens
    listener.stop()


# --- the web process ---


def test_each_submission_is_notified_once_while_redis_is_away_and_not_released(
    database: Database, listen: Callable[[], list[int]], make_client: Callable[..., Any]
):
    woken, client = listen(), make_client(NO_REDIS)
    jobs: list[str] = []
    for number in range(3):
        jobs.append(client.post(JOBS, json={"prompt": "x"}).json["id"])
        # After each: notifications that arrive together wake once.
        eventually(lambda number=number: len(woken) == 2 + number)
    client.post("/api/v1/bulks", data='{"prompt": "x"}', content_type="application/jsonl")
    eventually(lambda: len(woken) == 5)
    with database.read() as session:
        released = {job: session.get(Job, job).released_at for job in jobs}
    assert [at is None for at in released.values()] == [False, True, True]  # the first one found out


def test_nothing_is_notified_while_redis_is_there(
    listen: Callable[[], list[int]], make_client: Callable[..., Any], redis_url: str
):
    woken, client = listen(), make_client(redis_url)
    for _ in range(3):
        assert client.post(JOBS, json={"prompt": "x"}).status_code == 202
    assert len(woken) == 1


def test_redis_is_left_alone_for_a_while_after_a_failure_and_then_tried_again(database: Database):
    wakeups = WakeUps(database, Hints(connect(NO_REDIS)))
    tries: list[int] = []

    def send(answer: bool) -> bool:
        tries.append(1)
        return answer

    wakeups.after_commit(lambda: send(False))
    assert wakeups.redis_is_away
    wakeups.after_commit(lambda: send(False))
    assert len(tries) == 1
    wakeups._breaker._open_until = 0.0
    wakeups.after_commit(lambda: send(True))
    assert not wakeups.redis_is_away
    assert len(tries) == 2


# --- who is woken ---


def test_a_worker_claims_a_notified_job_without_polling(
    settings: Settings, database: Database, catalogue: Catalogue, failures: list[BaseException]
):
    claimed: list[str] = []
    # It believes that Redis is there, so it never looks into the database by itself.
    leases = SimpleNamespace(owner="me", redis_is_away=False)
    threads = Supervisor(lambda _name, error: failures.append(error))
    claimer = Claimer(
        settings,
        database,
        Admission(8, ["limner-flow"]),
        HeldJobs(),
        cast("Any", leases),
        threads,
        lambda jobs: claimed.extend(job.id for job in jobs),
    )
    claimer.start()
    try:
        eventually(lambda: claimer._notifications.listens)
        card, spec = catalogue.resolve(JobRequest(prompt="a red apple", seed=1))
        with database.write() as session:
            new = ledger.NewJob(spec, card.cost(spec), Priority.NORMAL)
            [change] = ledger.submit(session, ledger.LOCAL_TENANT, [new]).changes
            notify_waiting(session)
        eventually(lambda: claimed == [change.id])
    finally:
        claimer.stop()
    assert failures == []


def test_a_notification_ends_the_dispatchers_wait(
    settings: Settings, database: Database, catalogue: Catalogue, redis_url: str
):
    client, celery = connect(redis_url, decode_responses=False), make_celery(settings)
    quiet = settings.model_copy(update={"dispatch_seconds": 3600.0})
    dispatcher, stopping = Dispatcher(quiet, catalogue, database, client, celery), threading.Event()
    thread = threading.Thread(target=dispatcher.run, args=(stopping,), daemon=True)
    with subscription(connect(redis_url)) as heard:
        heard.subscribe(WAKE_CHANNEL)
        thread.start()
        try:
            eventually(lambda: cast("Any", heard).get_message(timeout=0.1))  # as it begins to listen
            notify(database)
            eventually(lambda: cast("Any", heard).get_message(timeout=0.1))
        finally:
            stopping.set()
            thread.join(20)
    celery.close()
    client.close()
