"""Faults within a worker: damaged objects, a broken device, a broken model, invalid messages."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pytest
from PIL import Image as Pillow
from sqlalchemy import select

from limner_shared.db import ledger
from limner_shared.db.tables import Job
from limner_shared.domain.jobs import JobState
from limner_shared.messaging.hints import CANCEL_CHANNEL
from limner_shared.messaging.reports import WorkerReport, read_reports
from limner_shared.process_end import EXIT_CODE
from limner_shared.storage.blobs import CHECKPOINTS, INPUTS, Blobs
from limner_worker.runtime.model_trials import FAILURES_IN_A_ROW
from tests.distributed.null_services import assert_all_correct, null_service, redis_server
from tests.distributed.test_faults import start_faulty_worker
from tests.exhaustion import nothing_more
from tests.processes import Service, eventually
from tests.redis_clients import redis_at

pytestmark = pytest.mark.long

__all__ = ["null_service", "redis_server"]
sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@postgresql
def test_a_broken_device_ends_its_worker_and_jobs_run_elsewhere(null_service: Any):
    null_service.start("dispatcher")
    broken = start_faulty_worker(null_service, "device", 20)
    eventually(lambda: null_service.ready_workers() == 1, 60)
    ids = null_service.submit(200)
    assert broken.wait(30) == EXIT_CODE, null_service.logs()
    null_service.start_workers()
    assert_all_correct(null_service, ids)
    losses = [job.losses for job in null_service.jobs(ids)]
    assert max(losses) == 1
    assert sum(losses) <= 8, "jobs outside the call that broke the device were charged"


@postgresql
def test_the_circuit_breaker_of_a_broken_model_keeps_most_jobs_queued(null_service: Any):
    null_service.start("dispatcher")
    start_faulty_worker(null_service, "model", 1)
    eventually(lambda: null_service.ready_workers() == 1, 60)
    ids = null_service.submit(100)
    eventually(lambda: ["null"] in [report.closed for report in worker_reports(null_service)], 30)
    eventually(lambda: {job.state for job in null_service.jobs(ids)} <= {"failed", "queued"}, 30)
    failed = [job for job in null_service.jobs(ids) if job.state == JobState.FAILED]
    assert len(failed) == FAILURES_IN_A_ROW - 1, "the job that makes the trial due, and all after it, are handed back"
    assert all("broken library" not in job.error_message for job in failed)


def worker_reports(service: Service) -> Sequence[WorkerReport]:
    with redis_at(service.settings.redis_url) as client:
        return read_reports(client, WorkerReport)


@sqlite
def test_an_unreadable_job_fails_and_other_jobs_succeed(null_service: Any):
    null_service.start_workers()
    ids = null_service.submit(20)
    with null_service.database.write() as session:
        session.get(Job, ids[3]).spec = {"version": 1, "prompt": "x"}
    null_service.start("dispatcher")
    jobs = null_service.wait(ids)
    assert [job.error_code for job in jobs if job.state != "succeeded"] == ["unreadable_job"]


@sqlite
def test_damaged_inputs_and_checkpoints_affect_only_their_job(service: Service):
    """Uses the built-in model, whose jobs write checkpoints, and a job whose input image is damaged."""
    blobs = Blobs(service.settings.resolved_blob_url)
    buffer = io.BytesIO()
    Pillow.new("RGB", (64, 64), "red").save(buffer, "PNG")
    digest = blobs.put_input(buffer.getvalue())
    assert blobs.folder is not None
    (blobs.folder / INPUTS / digest).write_bytes(buffer.getvalue()[:60])
    ids = service.submit(6)
    with service.database.write() as session:
        damaged, resumed = session.get(Job, ids[1]), session.get(Job, ids[2])
        damaged.spec = damaged.spec | {"image": digest}
        resumed.attempt = 1
    blobs.store_checkpoint(f"{ids[2]}-0", b"{}\nnothing of the kind")
    (blobs.folder / CHECKPOINTS / f"{ids[2]}-0").write_bytes(b"\x00\xff not even JSON")
    service.start("dispatcher")
    service.start_workers()
    jobs = service.wait(ids)
    assert jobs[1].error_code in ("damaged_input", "not_found"), service.logs()
    assert {job.state for job in (*jobs[:1], *jobs[2:])} == {"succeeded"}, service.logs()


@sqlite
def test_invalid_messages_on_the_cancel_channel_are_ignored(null_service: Any):
    null_service.start("dispatcher")
    null_service.start_workers()
    with redis_at(null_service.settings.redis_url) as client:
        for garbage in (b"\xff\xfe", b"", b"{}", b"job_unknown"):
            client.publish(CANCEL_CHANNEL, garbage)
        assert_all_correct(null_service, null_service.submit(5))
        eventually(lambda: client.pubsub_numsub(CANCEL_CHANNEL)[0][1] == 1)


@postgresql
def test_claiming_a_job_again_drops_the_earlier_attempt_and_frees_its_slot(null_service: Any):
    """As after a database outage: the reaper requeued jobs that the worker still runs."""
    changes = {"slots": 8, "heartbeat_seconds": 20.0, "lease_seconds": 60.0}
    null_service.change_settings(changes)
    null_service.start("dispatcher")
    null_service.start_workers()
    all_ids: list[str] = []
    for _ in range(3):
        ids = null_service.submit(4, steps=60)
        all_ids += ids
        eventually(lambda ids=ids: all(job.state == JobState.RUNNING for job in null_service.jobs(ids)))
        with null_service.database.write() as session:
            running = session.scalars(select(Job).where(Job.id.in_(ids))).all()
            ledger.hand_back(session, [ledger.AttemptKey(job.id, job.attempt) for job in running])
        assert all(job.attempt == 2 for job in null_service.wait(ids))
    assert null_service.logs().count("claimed again") == 3
    assert_all_correct(null_service, [*all_ids, *null_service.submit(12)])


@postgresql
@pytest.mark.parametrize("what", ["memory", "files"])
def test_a_worker_that_gets_no_memory_or_files_for_a_while_loses_no_job(null_service: Any, what: str):
    null_service.start("dispatcher")
    worker = null_service.start("worker")
    eventually(lambda: null_service.ready_workers() == 1, 60)
    ids = null_service.submit(200)
    eventually(lambda: {job.state for job in null_service.jobs(ids)} != {"queued"}, 30)
    with nothing_more(worker.pid, what):

        def has_met_it() -> bool:
            ended = worker.poll() is not None or all(job.finished_at for job in null_service.jobs(ids))
            return ended or "could not store pictures" in null_service.logs()

        eventually(has_met_it, 60)
    if worker.poll() is not None:
        null_service.start("worker")
    assert_all_correct(null_service, ids)
