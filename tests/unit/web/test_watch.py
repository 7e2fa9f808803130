"""Long polls: waiting clients share one read of the job, and lost hints are detected."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
from tests.processes import TENANT, eventually

from limner_shared.db import ledger, queries
from limner_shared.db.engine import Database
from limner_shared.db.tables import Job
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, JobState, Priority
from limner_shared.errors import NotFound
from limner_shared.messaging.hints import JOB_CHANNEL, Hints, connect
from limner_shared.messaging.typed_redis import publish
from limner_shared.threads import Supervisor
from limner_web.updates import waits, watch
from limner_web.updates.listener import Listener
from limner_web.updates.watch import Watches

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class View:
    """The part of a job's view that waiting needs."""

    def __init__(self, state: str) -> None:
        self.status = JobState(state)


class WatchedJob:
    """A job, and clients that wait for it."""

    def __init__(self, database: Database, redis_url: str, catalogue: Catalogue) -> None:
        self.database = database
        self.hints = Hints(connect(redis_url))
        self.reads = 0
        """Reads that have ended."""
        self.connected = True
        supervisor = Supervisor()
        listener = Listener(connect(redis_url, decode_responses=False), supervisor)
        self.heard: list[str] = []
        listener.add(lambda heard: self.heard.append(heard.id))
        self.watches = Watches(listener, database, supervisor)
        card, spec = catalogue.resolve(JobRequest(prompt="x"))
        with database.write() as session:
            new = ledger.NewJob(spec, card.cost(spec), Priority.NORMAL)
            [change] = ledger.submit(session, TENANT, [new]).changes
        self.job_id = change.id

    def await_listener(self) -> None:
        """Wait until the listener hears what is published; listeners of other tests may hear it as well."""
        message = f'{{"id": "another", "tenant_id": "{TENANT}", "state": "queued", "version": 1}}'
        eventually(lambda: cast("Any", self.hints.redis).publish(JOB_CHANNEL, message) and "another" in self.heard)

    def read(self) -> Any:
        with self.database.read() as session:
            view = View(queries.job(session, TENANT, self.job_id).state)
        self.reads += 1
        return view

    def wait(self, seen: threading.Semaphore, seconds: float = 600) -> View:
        views: list[Any] = []
        for view in self.watches.follow(TENANT, self.job_id, seconds, self.read, lambda: not self.connected):
            views.append(view)
            seen.release()
        return views[-1]

    def await_end(self, seconds: float = 600, job_id: str = "") -> Any:
        return self.watches.await_end(TENANT, job_id or self.job_id, seconds, self.read, lambda: not self.connected)

    def cancel(self) -> list[ledger.Change]:
        with self.database.write() as session:
            return ledger.cancel(session, Job.id == self.job_id)


@pytest.fixture
def watched(database: Database, redis_url: str, catalogue: Catalogue) -> WatchedJob:
    return WatchedJob(database, redis_url, catalogue)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads look twice a second for lost hints and for clients that have gone."""
    monkeypatch.setattr(watch, "RECHECK_SECONDS", 0.5)
    monkeypatch.setattr(waits, "HANG_UP_SECONDS", 0.5)


def test_all_clients_that_wait_for_a_job_share_one_read_at_its_end(watched: WatchedJob):
    seen = threading.Semaphore(0)
    with ThreadPoolExecutor(20) as clients:
        views = [clients.submit(watched.wait, seen) for _ in range(20)]
        for _ in range(20):
            seen.acquire()
        before = watched.reads
        watched.hints.changed(watched.cancel())
        assert {view.result().status for view in views} == {JobState.CANCELED}
    assert watched.reads - before <= 1, "more than one read (0 is possible if another client's first read was the last)"


def test_progress_hints_cause_no_read(watched: WatchedJob):
    seen = threading.Semaphore(0)
    with ThreadPoolExecutor(1) as clients:
        view = clients.submit(watched.wait, seen)
        seen.acquire()
        watched.await_listener()
        for done in range(50):
            message = (
                f'{{"id": "{watched.job_id}", "tenant_id": "{TENANT}", "progress": {{"done": {done}, "total": 50}}}}'
            )
            publish(watched.hints.redis, JOB_CHANNEL, message)
        watched.hints.changed(watched.cancel())
        assert view.result().status is JobState.CANCELED
    assert watched.reads == 2


@pytest.mark.usefixtures("often")
def test_the_end_of_a_job_is_detected_without_a_hint(watched: WatchedJob):
    seen = threading.Semaphore(0)
    with ThreadPoolExecutor(1) as clients:
        view = clients.submit(watched.wait, seen)
        seen.acquire()
        watched.cancel()
        assert eventually(view.done)
        assert view.result().status is JobState.CANCELED


def test_a_false_hint_does_not_end_the_wait(watched: WatchedJob):
    seen = threading.Semaphore(0)
    with ThreadPoolExecutor(1) as clients:
        view = clients.submit(watched.wait, seen)
        seen.acquire()
        watched.await_listener()
        message = f'{{"id": "{watched.job_id}", "tenant_id": "{TENANT}", "state": "succeeded", "version": 2}}'
        publish(watched.hints.redis, JOB_CHANNEL, message)
        eventually(lambda: watched.reads == 2)
        assert not view.done()
        watched.hints.changed(watched.cancel())
        assert view.result().status is JobState.CANCELED
    assert watched.reads == 3


def test_waiting_ends_at_its_timeout_or_when_the_client_disconnects(watched: WatchedJob):
    assert watched.wait(threading.Semaphore(0), seconds=0.2).status is JobState.QUEUED
    assert watched.reads == 1, "the job was read again directly after the first read"
    watched.connected = False
    assert watched.wait(threading.Semaphore(0)).status is JobState.QUEUED


def test_a_request_that_asks_again_waits_without_a_read_and_hears_of_the_end(watched: WatchedJob):
    assert watched.await_end(seconds=0.01).status is JobState.QUEUED
    before = watched.reads
    with ThreadPoolExecutor(1) as clients:
        view = clients.submit(watched.await_end)
        watched.await_listener()
        assert watched.reads == before
        watched.hints.changed(watched.cancel())
        assert view.result().status is JobState.CANCELED
    assert watched.reads == before + 1


@pytest.mark.usefixtures("often")
def test_a_request_that_asks_again_hears_of_an_end_whose_hint_was_lost(watched: WatchedJob):
    assert watched.await_end(seconds=0.01).status is JobState.QUEUED
    watched.cancel()
    assert watched.await_end().status is JobState.CANCELED


def test_a_wait_for_a_job_that_has_ended_or_does_not_exist_is_answered_at_once(watched: WatchedJob):
    watched.cancel()
    assert watched.await_end().status is JobState.CANCELED
    for _ in range(2):
        with pytest.raises(NotFound):
            watched.await_end(job_id="job_none")


@pytest.mark.usefixtures("often")
def test_a_wait_ends_when_its_client_has_hung_up_before_or_meanwhile(watched: WatchedJob):
    with ThreadPoolExecutor(1) as clients:
        view = clients.submit(watched.await_end)
        watched.await_listener()
        assert not view.done()
        watched.connected = False
        assert view.result().status is JobState.QUEUED
    assert watched.await_end().status is JobState.QUEUED


def test_a_false_hint_does_not_end_a_wait_for_the_end(watched: WatchedJob):
    with ThreadPoolExecutor(1) as clients:
        view = clients.submit(watched.await_end)
        watched.await_listener()
        message = f'{{"id": "{watched.job_id}", "tenant_id": "{TENANT}", "state": "succeeded", "version": 2}}'
        eventually(lambda: cast("Any", watched.hints.redis).publish(JOB_CHANNEL, message) and watched.reads)
        assert not view.done()
        watched.hints.changed(watched.cancel())
        assert view.result().status is JobState.CANCELED
