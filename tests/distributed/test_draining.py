"""`limner drain` with real workers: they take no jobs, lose no finished step, and take jobs again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from limner_client.local.doctor import worker_checks
from limner_client.local.findings import State
from limner_shared.db import fleet_queries, pause_queries, queries
from limner_shared.db.tables import Job
from limner_shared.domain.jobs import JobState
from limner_shared.messaging.reports import WorkerReport, read_reports
from tests.conftest import start_valkey
from tests.processes import COMMAND, Service, environment, eventually
from tests.redis_clients import redis_at

pytestmark = pytest.mark.long
sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
LONG: dict[str, Any] = {"steps": 100, "n": 8, "width": 64, "height": 64, "seed": 5, "reproducible": True}


def limner(service: Service, *words: str) -> str:
    """Run a command with the service's settings; returns what it prints."""
    command = [sys.executable, "-m", COMMAND, *words]
    done = subprocess.run(command, env=environment(service.settings), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + service.logs()
    return done.stdout


def reports(service: Service) -> list[WorkerReport]:
    with redis_at(service.settings.redis_url) as client:
        return read_reports(client, WorkerReport)


def owner(service: Service, process: subprocess.Popen[bytes]) -> str:
    """The id of a worker by its process."""
    [found] = [report.owner for report in reports(service) if report.owner.split(":")[1] == str(process.pid)]
    return found


def owners(service: Service, ids: list[str]) -> set[str | None]:
    with service.database.read() as session:
        return set(session.scalars(select(Job.owner).where(Job.id.in_(ids))))


@postgresql
def test_a_drained_worker_hands_over_its_job_at_the_step_it_was_at_and_works_again_when_taken_back(service: Service):
    service.change_settings({"shutdown_seconds": 0.5, "heartbeat_seconds": 0.3, "checkpoint_seconds": 600.0})
    service.start("dispatcher")
    [first] = service.start_workers()
    drained = owner(service, first)
    [job_id] = ids = service.submit(**LONG)
    eventually(lambda: half_done(service, job_id), 60)
    assert "holds no job" in limner(service, "drain", drained, "--wait")
    [job] = service.jobs(ids)
    assert (job.state, job.losses) == ("queued", 0), "nothing takes it: the only worker drains"
    [report] = reports(service)
    assert (report.draining, report.held) == (True, 0)
    [check] = worker_checks([report])
    assert (check.state, "drained" in check.found) == (State.WARN, True)
    done = progress(service, job_id)
    limner(service, "drain", "--undo", drained)
    [job] = service.wait(ids)
    assert (job.state, job.attempt, job.losses) == ("succeeded", 2, 0)
    assert service.logs().count("resuming from an earlier attempt's checkpoint") == LONG["n"]
    with service.database.read() as session:
        receipts = [image.receipt for image in queries.images(session, ids)[job_id]]
    assert done >= LONG["steps"] * LONG["n"] // 4
    [again] = service.wait(service.submit(**LONG))
    with service.database.read() as session:
        images = queries.images(session, [again.id])[again.id]
    assert [image.receipt for image in images] == receipts, "the same steps, none left out and none done twice"
    eventually(lambda: not reports(service)[0].draining)


def progress(service: Service, job_id: str) -> int:
    with redis_at(service.settings.redis_url) as client:
        value = client.get(f"limner:progress:{job_id}")
    return json.loads(value)["done"] if value else 0


def half_done(service: Service, job_id: str) -> bool:
    return progress(service, job_id) > LONG["steps"] * LONG["n"] // 3


@sqlite
def test_jobs_go_to_other_workers_while_one_drains_and_its_end_deletes_the_order(service: Service):
    service.change_settings({"heartbeat_seconds": 0.3})
    service.start("dispatcher")
    first, _ = service.start_workers(2)
    drained = owner(service, first)
    before = service.submit(10)
    limner(service, "drain", drained, "--wait", "--reason", "new kernel")
    after = service.submit(10)
    jobs = service.wait(before + after)
    assert {job.state for job in jobs} == {"succeeded"}
    assert {job.attempt for job in jobs} == {1}
    assert drained not in owners(service, after)
    assert "new kernel" in limner(service, "queue", "list")
    first.send_signal(signal.SIGTERM)
    assert first.wait(30) == 0
    with service.database.read() as session:
        assert not pause_queries.is_draining(session, drained)


@postgresql
def test_a_worker_drains_while_redis_is_away(service: Service):
    server = start_valkey()
    service.change_settings(
        {"redis_url": f"redis://127.0.0.1:{server.port}/0", "shutdown_seconds": 0.0, "heartbeat_seconds": 0.3}
    )
    service.start("dispatcher")
    service.start_workers()
    server.stop()
    [job_id] = ids = service.submit(**LONG)
    eventually(lambda: service.jobs(ids)[0].state == JobState.RUNNING, 60)
    with service.database.read() as session:
        [drained] = fleet_queries.running_owners(session)
    limner(service, "drain", drained.partition(":")[0])
    eventually(lambda: service.jobs(ids)[0].state == JobState.QUEUED)
    limner(service, "drain", "--undo", drained)
    [job] = service.wait(ids)
    assert (job.state, job.losses) == ("succeeded", 0)
    assert job_id in service.logs()


@sqlite
def test_sigterm_is_a_drain_that_loses_no_finished_step(service: Service):
    service.change_settings({"shutdown_seconds": 0.0, "checkpoint_seconds": 600.0})
    service.start("dispatcher")
    [first] = service.start_workers()
    [job_id] = ids = service.submit(**LONG)
    eventually(lambda: half_done(service, job_id), 60)
    first.send_signal(signal.SIGTERM)
    assert first.wait(30) == 0
    assert service.jobs(ids)[0].state == JobState.QUEUED
    kept = Path(service.settings.data_dir) / "blobs" / "half-made"
    assert len(list(kept.iterdir())) == LONG["n"]
    service.start_workers()
    [job] = service.wait(ids)
    assert (job.state, job.attempt, job.losses) == ("succeeded", 2, 0)
    assert service.logs().count("resuming from an earlier attempt's checkpoint") == LONG["n"]
