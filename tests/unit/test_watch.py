"""Waiting for jobs: one look for all who wait, and lost hints found out."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.processes import TENANT, eventually

from limner_shared.db import ledger, queries
from limner_shared.db.engine import Database
from limner_shared.db.tables import Job
from limner_shared.domain.jobs import JobRequest, JobState, Priority
from limner_shared.messaging.hints import CHANNEL, Hints, connect
from limner_shared.threads import Supervisor
from limner_web.updates.listener import Listener
from limner_web.updates.watch import Watches

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class View:
    """As much of a job's view as waiting needs."""

    def __init__(self, state: str) -> None:
        self.status = JobState(state)


class Room:
    """Clients that wait for one job."""

    def __init__(self, database: Database, redis_url: str, catalogue) -> None:
        self.database = database
        self.hints = Hints(connect(redis_url))
        self.others = self.listeners()
        self.looks = 0
        self.here = True
        supervisor = Supervisor()
        self.watches = Watches(Listener(connect(redis_url, decode_responses=False), supervisor), database, supervisor)
        card, spec = catalogue.resolve(JobRequest(prompt="x"))
        with database.write() as session:
            new = ledger.NewJob(spec, card.cost(spec), Priority.NORMAL)
            [change] = ledger.submit(session, TENANT, [new]).changes
        self.job_id = change.id

    def listeners(self) -> int:
        return self.hints.redis.pubsub_numsub(CHANNEL)[0][1]

    def look(self) -> View:
        self.looks += 1
        with self.database.read() as session:
            return View(queries.job(session, TENANT, self.job_id).state)

    def wait(self, seen: threading.Semaphore, seconds: float = 600) -> View:
        views: list[View] = []
        for view in self.watches.follow(TENANT, self.job_id, seconds, self.look, lambda: not self.here):
            views.append(view)
            seen.release()
        return views[-1]

    def cancel(self) -> list[ledger.Change]:
        with self.database.write() as session:
            return ledger.cancel(session, Job.id == self.job_id)


@pytest.fixture
def room(database, redis_url, catalogue) -> Room:
    return Room(database, redis_url, catalogue)


def test_all_who_wait_for_a_job_share_one_look_at_its_end(room):
    seen = threading.Semaphore(0)
    with ThreadPoolExecutor(20) as clients:
        views = [clients.submit(room.wait, seen) for _ in range(20)]
        for _ in range(20):
            seen.acquire()
        before = room.looks
        room.hints.changed(room.cancel())
        assert {view.result().status for view in views} == {JobState.CANCELED}
    assert room.looks - before <= 1, "none if the first look of another was the last"


def test_progress_costs_no_look(room):
    seen = threading.Semaphore(0)
    with ThreadPoolExecutor(1) as clients:
        view = clients.submit(room.wait, seen)
        seen.acquire()
        eventually(lambda: room.listeners() > room.others)
        for done in range(50):
            message = f'{{"id": "{room.job_id}", "tenant_id": "{TENANT}", "progress": {{"done": {done}, "total": 50}}}}'
            room.hints.redis.publish(CHANNEL, message)
        room.hints.changed(room.cancel())
        assert view.result().status is JobState.CANCELED
    assert room.looks == 2


def test_an_end_of_which_no_hint_came_is_found_out(room):
    seen = threading.Semaphore(0)
    with ThreadPoolExecutor(1) as clients:
        view = clients.submit(room.wait, seen)
        seen.acquire()
        room.cancel()
        assert eventually(view.done)
        assert view.result().status is JobState.CANCELED


def test_a_hint_that_says_what_is_not_true_ends_nothing(room):
    seen = threading.Semaphore(0)
    with ThreadPoolExecutor(1) as clients:
        view = clients.submit(room.wait, seen)
        seen.acquire()
        eventually(lambda: room.listeners() > room.others)
        message = f'{{"id": "{room.job_id}", "tenant_id": "{TENANT}", "state": "succeeded", "version": 2}}'
        room.hints.redis.publish(CHANNEL, message)
        eventually(lambda: room.looks == 2)
        assert not view.done()
        room.hints.changed(room.cancel())
        assert view.result().status is JobState.CANCELED
    assert room.looks == 3


def test_waiting_ends_when_its_time_is_over_or_its_client_is_gone(room):
    assert room.wait(threading.Semaphore(0), seconds=0.2).status is JobState.QUEUED
    assert room.looks == 1, "it has just been looked at"
    room.here = False
    assert room.wait(threading.Semaphore(0)).status is JobState.QUEUED
