"""Single faults of workers and dispatchers with real processes and a null model: every accepted job ends once."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import Any

import pytest
from sqlalchemy import select, text

from limner_shared.db.tables import Event
from limner_shared.domain.jobs import JobState
from limner_shared.process_end import EXIT_CODE
from tests.chaos.fault_injection import POINTS
from tests.distributed.null_services import assert_all_correct, null_service, postgresql, redis_server, sqlite
from tests.processes import Service, environment, eventually

pytestmark = pytest.mark.long
__all__ = ["null_service", "redis_server"]


def start_faulty_worker(service: Service, point: str, count: int | str) -> subprocess.Popen[bytes]:
    """Start a worker with an injected fault."""
    with (service.folder / f"faulty-worker-{len(service.processes)}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.fault_injection", point, str(count), "worker"],
            env=environment(service.settings),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    service.processes.append(process)
    return process


@pytest.mark.parametrize("point", POINTS)
@postgresql
def test_a_worker_crash_at_any_point_loses_and_duplicates_nothing(null_service: Service, point: Any):
    null_service.start("dispatcher")
    doomed = start_faulty_worker(null_service, point, 3)
    eventually(lambda: null_service.ready_workers() == 1, 60)
    ids = null_service.submit(30)
    assert doomed.wait(30) == -signal.SIGKILL
    null_service.start_workers()
    assert_all_correct(null_service, ids)


@pytest.mark.parametrize("point", ["in-step", "before-commit"])
@sqlite
def test_the_late_result_of_a_zombie_is_discarded(null_service: Service, point: str):
    null_service.start("dispatcher")
    zombie = start_faulty_worker(null_service, f"stop-{point}", 1)
    eventually(lambda: null_service.ready_workers() == 1, 60)
    ids = null_service.submit()
    eventually(lambda: null_service.jobs(ids)[0].state == JobState.RUNNING)
    null_service.start("worker")
    assert null_service.wait(ids)[0].attempt == 2
    zombie.send_signal(signal.SIGCONT)
    eventually(lambda: any(word in null_service.logs() for word in ("discarded", "dropping")))
    assert_all_correct(null_service, ids)


@postgresql
def test_a_hanging_step_ends_its_worker_and_other_jobs_run_elsewhere(null_service: Service):
    null_service.change_settings({"step_timeout_seconds": 2.0})
    null_service.start("dispatcher")
    hanging = start_faulty_worker(null_service, "poison", 0)
    eventually(lambda: null_service.ready_workers() == 1, 60)
    [poison] = null_service.submit(prompt="poison: hangs")
    eventually(lambda: null_service.jobs([poison])[0].state == JobState.RUNNING)
    others = null_service.submit(5)
    assert hanging.wait(30) == EXIT_CODE, null_service.logs()
    null_service.start_workers()
    assert_all_correct(null_service, [poison, *others])
    assert {job.losses for job in null_service.jobs(others)} == {0}


@postgresql
def test_a_standby_dispatcher_takes_over_within_ten_seconds(null_service: Service):
    null_service.start_workers()
    first = null_service.start("dispatcher")
    assert_all_correct(null_service, null_service.submit(5))
    null_service.start("dispatcher")
    first.kill()
    ids = null_service.submit(5)
    started = time.monotonic()
    null_service.wait(ids, 30)
    assert time.monotonic() - started < 10


@sqlite
def test_a_worker_clock_two_hours_ahead_has_no_effect(null_service: Service):
    null_service.start("dispatcher")
    null_service.start_workers()
    start_faulty_worker(null_service, "clock", 7200)
    eventually(lambda: null_service.ready_workers() == 2, 60)
    ids = null_service.submit(100)
    assert_all_correct(null_service, ids)
    assert {job.attempt for job in null_service.jobs(ids)} == {1}


@postgresql
def test_a_poison_job_becomes_a_dead_letter_and_other_jobs_succeed(null_service: Service):
    null_service.start("dispatcher")
    workers = [start_faulty_worker(null_service, "poison", 0)]
    [poison] = null_service.submit(prompt="poison: exits")
    innocent = null_service.submit(40)
    deadline = time.monotonic() + 90
    while any(not JobState(job.state).terminal for job in null_service.jobs([poison, *innocent])):
        if workers[-1].poll() is not None:
            workers.append(start_faulty_worker(null_service, "poison", 0))
        assert time.monotonic() < deadline, null_service.logs()
        time.sleep(0.1)
    [dead] = null_service.jobs([poison])
    assert (dead.state, dead.error_code, dead.losses) == ("failed", "worker_lost", 4)
    assert "running it alone" in dead.error_message
    assert {job.state for job in null_service.jobs(innocent)} == {"succeeded"}
    assert max(job.losses for job in null_service.jobs(innocent)) <= 2
    with null_service.database.read() as session:
        kinds = session.scalars(select(Event.kind).where(Event.job_id == poison).order_by(Event.id)).all()
    assert kinds == ["claimed", "requeued"] * 3 + ["claimed", "failed"]


@sqlite
def test_a_job_of_a_removed_model_fails_with_model_unavailable(null_service: Service):
    [gone] = null_service.submit()
    with null_service.database.write() as session:
        session.execute(text("UPDATE jobs SET model = 'gone', created_at = created_at - 120"))
    null_service.start("dispatcher")
    [job] = null_service.wait([gone])
    assert (job.state, job.error_code) == ("failed", "model_unavailable")
    assert "no longer served" in job.error_message
