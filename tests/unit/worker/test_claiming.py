"""A worker's claims, beside the database that they are made in."""

from __future__ import annotations

import threading
from queue import Queue
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy.orm import Session
from tests.clocks import Clock
from tests.processes import eventually

from limner_shared.circuit_breaker import Breaker
from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.domain.jobs import Lane
from limner_shared.messaging.celery_app import queue_name
from limner_shared.settings import Settings
from limner_shared.threads import Supervisor
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
def test_without_redis_one_job_is_claimed_on_trial_after_the_picture_store_failed(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
):
    rooms: Queue[int] = Queue()

    def claim_next(_session: Session, _models: list[str], room: int, *_: object) -> list[ledger.Claim]:
        rooms.put(room)
        return []

    monkeypatch.setattr(ledger, "claim_next", claim_next)
    leases, clock = cast("Any", SimpleNamespace(owner="me", redis_is_away=True)), Clock()
    admission = Admission(8, ["limner-flow"])
    admission.store_breaker = Breaker(1, 1, 60, clock)
    admission.store_breaker.failed()
    clock.now += 1
    claimer = Claimer(settings, database, admission, HeldJobs(), leases, Supervisor(), lambda _: None)
    claimer.start()
    assert rooms.get(timeout=30) == 1
    claimer.stop()
