"""What goes wrong within a worker: a damaged object, a broken device, a broken model, a thread that fails."""

from __future__ import annotations

import io

import pytest
from PIL import Image as Pillow
from redis import Redis
from sqlalchemy import select

from limner_shared.db import ledger
from limner_shared.db.tables import Job
from limner_shared.domain.jobs import JobState
from limner_shared.messaging.hints import CANCEL_CHANNEL
from limner_shared.storage.blobs import CHECKPOINTS, INPUTS, Blobs
from limner_shared.threads import EXIT_CODE
from tests.distributed.test_faults import assert_all_is_well, nulls, redis_server, start_faulty
from tests.processes import Service, eventually

__all__ = ["nulls", "redis_server"]
sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@postgresql
def test_a_broken_device_ends_its_worker_and_the_queue_goes_on_elsewhere(nulls):
    nulls.start("dispatcher")
    broken = start_faulty(nulls, "device", 20)
    eventually(lambda: nulls.workers_on_board() == 1, 60)
    ids = nulls.submit(200)
    assert broken.wait(30) == EXIT_CODE, nulls.logs()
    nulls.start_workers()
    assert_all_is_well(nulls, ids)
    losses = [job.losses for job in nulls.jobs(ids)]
    assert max(losses) == 1
    assert sum(losses) <= 8, "only those in the call that broke the device are charged"


@postgresql
def test_a_model_that_fails_for_every_job_is_left_alone_and_most_jobs_wait(nulls):
    nulls.start("dispatcher")
    start_faulty(nulls, "model", 1)
    eventually(lambda: nulls.workers_on_board() == 1, 60)
    ids = nulls.submit(100)
    eventually(lambda: "closed" in board(nulls) and "null" in board(nulls).partition("closed")[2], 30)
    eventually(lambda: {job.state for job in nulls.jobs(ids)} <= {"failed", "queued"}, 30)
    failed = [job for job in nulls.jobs(ids) if job.state == JobState.FAILED]
    assert 8 <= len(failed) <= 24, "those that showed that the model is broken, and those in the same calls"
    assert all("broken library" not in job.error_message for job in failed)


def board(service: Service) -> str:
    with Redis.from_url(service.settings.redis_url) as client:
        return str([client.get(key) for key in client.keys("limner:worker:*")])


@sqlite
def test_a_job_that_cannot_be_read_fails_and_its_neighbours_are_done(nulls):
    nulls.start_workers()
    ids = nulls.submit(20)
    with nulls.database.write() as session:
        session.get(Job, ids[3]).spec = {"version": 1, "prompt": "x"}
    nulls.start("dispatcher")
    jobs = nulls.wait(ids)
    assert [job.error_code for job in jobs if job.state != "succeeded"] == ["unreadable_job"]


@sqlite
def test_damaged_inputs_and_checkpoints_concern_their_own_job_alone(service):
    """The built-in model, whose jobs leave checkpoints, and a job whose input is no picture any more."""
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
    blobs.keep(f"{ids[2]}-0", b"{}\nnothing of the kind")
    (blobs.folder / CHECKPOINTS / f"{ids[2]}-0").write_bytes(b"\x00\xff not even JSON")
    service.start("dispatcher")
    service.start_workers()
    jobs = service.wait(ids)
    assert jobs[1].error_code in ("damaged_input", "not_found"), service.logs()
    assert {job.state for job in (*jobs[:1], *jobs[2:])} == {"succeeded"}, service.logs()


@sqlite
def test_garbage_on_the_cancel_channel_does_not_make_the_worker_deaf(nulls):
    nulls.start("dispatcher")
    nulls.start_workers()
    with Redis.from_url(nulls.settings.redis_url) as client:
        for garbage in (b"\xff\xfe", b"", b"{}", b"job_unknown"):
            client.publish(CANCEL_CHANNEL, garbage)
        assert_all_is_well(nulls, nulls.submit(5))
        eventually(lambda: client.pubsub_numsub(CANCEL_CHANNEL)[0][1] == 1)


@postgresql
def test_a_worker_that_claims_a_job_again_drops_its_earlier_attempt_and_keeps_every_slot(nulls):
    """As after an outage of the database: the reaper took back what the worker still holds."""
    changes = {"slots": 8, "heartbeat_seconds": 20.0, "lease_seconds": 60.0}
    nulls.settings = type(nulls.settings)(**nulls.settings.model_dump(exclude_unset=True) | changes)
    nulls.start("dispatcher")
    nulls.start_workers()
    everything: list[str] = []
    for _ in range(3):
        ids = nulls.submit(4, steps=60)
        everything += ids
        eventually(lambda ids=ids: all(job.state == JobState.RUNNING for job in nulls.jobs(ids)))
        with nulls.database.write() as session:
            running = session.scalars(select(Job).where(Job.id.in_(ids))).all()
            ledger.hand_back(session, [ledger.AttemptKey(job.id, job.attempt) for job in running])
        assert all(job.attempt == 2 for job in nulls.wait(ids))
    assert nulls.logs().count("claimed again") == 3
    assert_all_is_well(nulls, [*everything, *nulls.submit(12)])
