"""Outages of PostgreSQL that last longer than a lease: every job ends exactly once, and no worker loses a slot."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import func, select

from limner_dispatcher.repair import RENEWAL_SECONDS
from limner_shared.db.engine import now
from limner_shared.db.tables import Event, Job
from limner_shared.domain.jobs import LOSSES_TOGETHER, JobState, Priority
from limner_shared.messaging.reports import WorkerReport, read_reports
from tests.distributed.null_services import assert_all_correct, null_service, redis_server
from tests.distributed.proxy import Proxy
from tests.processes import Service, eventually
from tests.redis_clients import redis_at

__all__ = ["null_service", "redis_server"]
pytestmark = [pytest.mark.long, pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)]
SLOTS = 8
SHORT, LONG = 80, 300
"""Steps of 20 ms: a short job ends during the outage, a long one after it."""


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    """A proxy between the service's processes and the database; the test itself reads the database without it."""
    proxy = Proxy(database_url)
    yield proxy
    proxy.close()


@pytest.fixture
def outage_service(null_service: Service, proxy: Proxy) -> Service:
    """The service with the null model, a lease of 3 s, 8 slots per worker, and its database behind the proxy."""
    null_service.settings = null_service.settings.model_copy(update={"database_url": proxy.url, "slots": SLOTS})
    null_service.start("dispatcher")
    return null_service


def submit_slow(service: Service, count: int) -> list[str]:
    """Submit jobs, half of them long and half short, and wait until all of them are claimed and the long ones run."""
    long = service.submit(count // 2, steps=LONG)
    ids = long + service.submit(count // 2, steps=SHORT)
    eventually(lambda: all(job.attempt for job in service.jobs(ids)))
    assert {job.state for job in service.jobs(long)} == {JobState.RUNNING}
    return ids


def leases_expired(service: Service, ids: list[str]) -> bool:
    """Whether the lease of each of these jobs has expired by the database's clock."""
    with service.database.read() as session:
        return not session.scalar(select(func.count()).where(Job.id.in_(ids), Job.lease_until >= now()))


def assert_run_at_once(service: Service, ids: list[str]) -> None:
    """Check that all of these jobs were claimed before the first of them ended."""
    ids_of_events = select(Event.id).where(Event.job_id.in_(ids))
    with service.database.read() as session:
        last_claim = max(session.scalars(ids_of_events.where(Event.kind == "claimed")))
        assert last_claim < min(session.scalars(ids_of_events.where(Event.kind == "succeeded"))), service.logs()


def assert_workers_idle(service: Service, workers: int) -> None:
    """Check that each worker reports that it holds no job and that none of its threads is stalled."""

    def idle() -> bool:
        with redis_at(service.settings.redis_url) as client:
            reports = read_reports(client, WorkerReport)
        return len(reports) == workers and all(not (each.held or each.stalled or each.closed) for each in reports)

    eventually(idle)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("outage", [Proxy.refuse, Proxy.freeze], ids=["down", "frozen"])
def test_an_outage_longer_than_the_lease_loses_no_job_and_no_slot(
    outage_service: Service, proxy: Proxy, workers: int, outage: Any
):
    service = outage_service
    service.start_workers(workers)
    ids = submit_slow(service, SLOTS * workers)
    outage(proxy)
    eventually(lambda: leases_expired(service, ids))
    proxy.restore()
    service.wait(ids)
    later = service.submit(SLOTS * workers, steps=2 * SHORT)
    assert_all_correct(service, [*ids, *later])
    assert {(job.losses, job.attempt) for job in service.jobs([*ids, *later])} == {(0, 1)}
    assert_run_at_once(service, later)  # every slot is free again
    assert_workers_idle(service, workers)


@pytest.mark.parametrize("outage", [Proxy.refuse, Proxy.freeze], ids=["down", "frozen"])
def test_after_an_outage_leases_are_reaped_only_after_the_time_to_renew_them(
    outage_service: Service, proxy: Proxy, outage: Any
):
    service = outage_service
    [worker] = service.start_workers()
    ids = service.submit(SLOTS, steps=2 * SHORT)
    eventually(lambda: all(job.state == JobState.RUNNING for job in service.jobs(ids)))
    worker.send_signal(signal.SIGSTOP)  # it renews nothing: only the grace period delays the reaping
    outage(proxy)
    eventually(lambda: leases_expired(service, ids))
    restored = time.monotonic()
    proxy.restore()
    eventually(lambda: any(job.losses for job in service.jobs(ids)))
    assert time.monotonic() - restored >= RENEWAL_SECONDS
    worker.send_signal(signal.SIGCONT)
    assert_all_correct(service, ids)
    assert_workers_idle(service, 1)


@pytest.mark.parametrize("outage", [Proxy.refuse, Proxy.freeze], ids=["down", "frozen"])
@pytest.mark.parametrize("begins", ["while it runs", "while it waits for the others"])
def test_an_outage_around_a_job_that_runs_alone_leaves_no_slot_of_any_lane_held(
    outage_service: Service, proxy: Proxy, begins: str, outage: Any
):
    service = outage_service
    service.start_workers()
    if begins == "while it runs":
        [suspect] = service.submit(steps=LONG, losses=LOSSES_TOGETHER)
        eventually(lambda: service.jobs([suspect])[0].state == JobState.RUNNING)
        waiting = others = service.submit(SLOTS, steps=SHORT)
        leased = [suspect]
    else:
        leased = others = service.submit(SLOTS, steps=LONG)
        eventually(lambda: {job.state for job in service.jobs(others)} == {JobState.RUNNING})
        waiting = [suspect] = service.submit(steps=SHORT, losses=LOSSES_TOGETHER)
    eventually(lambda: all(job.released_at for job in service.jobs(waiting)))
    outage(proxy)
    eventually(lambda: leases_expired(service, leased))
    proxy.restore()
    ids = [suspect, *others]
    assert_all_correct(service, ids)
    ended = [(job.losses, job.attempt) for job in service.jobs(ids)]
    assert ended == [(LOSSES_TOGETHER, 1)] + [(0, 1)] * len(others)
    for priority in Priority:
        later = service.submit(SLOTS, priority=priority, steps=2 * SHORT)
        ids += later
        assert_all_correct(service, ids)
        assert_run_at_once(service, later)  # every slot of the lane is free again
    assert_all_correct(service, [*ids, *service.submit(losses=LOSSES_TOGETHER)])
    assert_workers_idle(service, 1)
