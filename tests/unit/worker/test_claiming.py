"""A worker's claims, beside the database that they are made in."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from queue import Queue
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session
from tests.clocks import Clock
from tests.dispatchers import HOUR, MINUTE, MODEL, job, submit
from tests.processes import eventually

from limner_shared.circuit_breaker import Breaker
from limner_shared.db import ledger
from limner_shared.db.engine import Database, clock
from limner_shared.db.ledger import AttemptKey, Released
from limner_shared.db.tables import Job
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import Lane
from limner_shared.messaging.celery_app import queue_name
from limner_shared.settings import Settings
from limner_shared.threads import Supervisor
from limner_worker.engine.job_run import JobRun
from limner_worker.runtime.admission import Admission
from limner_worker.runtime.claiming import UNIT_SECONDS, Claimer, JobMessage
from limner_worker.runtime.held_jobs import HeldJobs


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_claim_past_its_time_limit_is_reported_as_stalled_and_a_wait_for_messages_is_not(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
):
    claiming, go_on, clock, done = threading.Event(), threading.Event(), Clock(), threading.Event()

    def claim(*_: object, **__: object) -> list[ledger.Claim]:
        claiming.set()
        go_on.wait(30)
        return []

    monkeypatch.setattr(ledger, "claim", claim)
    threads, leases = Supervisor(clock=clock), cast("Any", SimpleNamespace(owner="me", redis_is_away=False))
    admission = Admission(8, ["limner-flow"])
    claimer = Claimer(settings, database, admission, HeldJobs(), leases, threads, lambda _: done.set())
    claimer.start()
    clock.now += UNIT_SECONDS + 1
    assert threads.stalled() == {}
    claimer.deliver(JobMessage(queue_name("limner-flow", Lane.NORMAL), ["job_a"], lambda: None))
    assert claiming.wait(30)
    clock.now += UNIT_SECONDS + 1
    assert threads.stalled() == {"claiming": UNIT_SECONDS + 1}
    go_on.set()
    assert done.wait(30)
    eventually(lambda: threads.stalled() == {})
    claimer.stop()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("failed", "wanted"),
    [
        ("the store", [(["limner-flow"], 1), (["limner-gan"], 1)]),
        ("a model", [(["limner-gan"], 1), (["limner-flow"], 8)]),
    ],
)
def test_without_redis_one_job_is_claimed_of_what_is_on_trial_and_as_many_as_ever_of_the_other_models(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch, failed: str, wanted: list[Any]
):
    asked: Queue[tuple[list[str], int]] = Queue()

    def claim_next(_session: Session, models: list[str], room: int, *_: object) -> list[ledger.Claim]:
        asked.put((models, room))
        return []

    monkeypatch.setattr(ledger, "claim_next", claim_next)
    leases, clock = cast("Any", SimpleNamespace(owner="me", redis_is_away=True)), Clock()
    admission, breaker = Admission(8, ["limner-flow", "limner-gan"]), Breaker(1, 1, 60, clock)
    if failed == "the store":
        admission.store_breaker = breaker
    else:
        admission.model_breakers["limner-gan"] = breaker
    breaker.failed()
    clock.now += 1
    claimer = Claimer(settings, database, admission, HeldJobs(), leases, Supervisor(), lambda _: None)
    claimer.start()
    assert [asked.get(timeout=30) for _ in wanted] == wanted
    claimer.stop()


class Waiting:
    """A worker that holds a job, and waits for its end with the message of another job, which must run alone."""

    def __init__(self, settings: Settings, database: Database, catalogue: Catalogue) -> None:
        self.database, self.held, self.acknowledged = database, HeldJobs(), threading.Event()
        [self.job_id] = submit(database, catalogue)
        with database.write() as session:
            ledger.release(session, Lane.ALONE, [self.job_id])
            session.execute(update(Job).values(losses=2, released_at=clock(session) - HOUR))
        self.other = cast("JobRun", SimpleNamespace(key=AttemptKey("job_other", 1)))
        self.held.add([self.other])
        self.claimed: Queue[JobRun] = Queue()
        leases = cast("Any", SimpleNamespace(owner="me", redis_is_away=False))
        admission, often = Admission(8, [MODEL]), settings.model_copy(update={"heartbeat_seconds": 0.01})
        self.claimer = Claimer(often, database, admission, self.held, leases, Supervisor(), self.start)
        self.claimer.start()
        self.claimer.deliver(JobMessage(queue_name(MODEL, Lane.ALONE), [self.job_id], self.acknowledged.set))

    def start(self, jobs: Sequence[JobRun]) -> None:
        for each in jobs:
            self.claimed.put(each)

    def released_again(self) -> list[Released]:
        with self.database.write() as session:
            return ledger.release_again(session, MODEL, Lane.ALONE, clock(session) - MINUTE)


def test_no_second_worker_waits_with_a_job_that_runs_alone_while_the_first_finishes_others(
    settings: Settings, database: Database, catalogue: Catalogue
):
    worker = Waiting(settings, database, catalogue)
    eventually(lambda: (job(database, worker.job_id).released_at or 0) > time.time() - MINUTE)
    assert worker.released_again() == []
    assert job(database, worker.job_id).attempt == 0, "the loss of this worker would be counted against the job"
    worker.held.remove(worker.other)
    assert worker.claimed.get(timeout=30).id == worker.job_id
    worker.claimer.stop()


def test_a_worker_does_not_wait_for_a_job_that_runs_alone_after_its_cancellation(
    settings: Settings, database: Database, catalogue: Catalogue
):
    worker = Waiting(settings, database, catalogue)
    with database.write() as session:
        ledger.cancel(session, Job.id == worker.job_id)
    assert worker.acknowledged.wait(30)
    assert len(worker.held) == 1
    worker.claimer.stop()
