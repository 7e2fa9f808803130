"""The faults: each is a function that breaks a part of the service and repairs it if necessary.

Those of additional processes in other surroundings are in `surroundings`.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress

import httpx
import psutil
from redis.exceptions import RedisError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from limner_shared.db.ledger import Released
from limner_shared.db.tables import Job
from limner_shared.domain.jobs import Lane
from limner_shared.messaging.celery_app import make_celery, publish, queue_name
from limner_shared.messaging.hints import CANCEL_CHANNEL, DELIVERIES_CHANNEL, JOB_CHANNEL, WAKE_CHANNEL
from limner_shared.storage.blobs import INPUTS, Blobs
from tests.chaos.fault_injection import POINTS
from tests.chaos.servers import REFUSALS
from tests.chaos.surroundings import cut_one_direction, jump_a_clock, run_the_previous_release
from tests.chaos.webhooks import receiver_fails
from tests.chaos.world import World, start_faulty_process
from tests.exhaustion import nothing_more


def kill_worker(world: World) -> None:
    world.random_process("worker").kill()


def kill_dispatcher(world: World) -> None:
    world.random_process("dispatcher").kill()


def kill_web(world: World) -> None:
    world.random_process("serve").kill()


def deploy_worker(world: World) -> None:
    world.random_process("worker").terminate()


def worker_dies_at_a_point(world: World) -> None:
    """Start an additional worker that dies at a random point of its work."""
    point, count = world.random.choice(list(POINTS)), world.random.randint(1, 12)
    process = start_faulty_process(world, point, count)
    with suppress(subprocess.TimeoutExpired):
        process.wait(6)
    process.kill()


def freeze_in_a_transaction(world: World) -> None:
    """Stop a worker or dispatcher between a statement and its commit, for longer than any lease or forever."""
    role = world.random.choice(["worker", "dispatcher"])
    process = start_faulty_process(world, "freeze", world.random.randint(1, 20), role)
    # SQLite has one lock for all writes: a process stopped in a write blocks all others until it is killed.
    time.sleep(3 if world.sqlite else world.service.settings.lease_seconds + world.random.uniform(1, 5))
    if world.random.random() < 0.5:
        process.send_signal(signal.SIGCONT)
        time.sleep(2)
    process.kill()


def break_a_device(world: World) -> None:
    process = start_faulty_process(world, "device", world.random.randint(1, 15))
    with suppress(subprocess.TimeoutExpired):
        process.wait(10)
    process.kill()


def move_a_clock(world: World) -> None:
    process = start_faulty_process(world, "clock", world.random.choice([-7200, -30, 30, 7200]))
    time.sleep(world.random.uniform(3, 8))
    process.terminate()


def stop_a_process(world: World) -> None:
    """Send SIGSTOP and later SIGCONT to a random process, after less or more than its lease."""
    process = world.random_process(world.random.choice(["serve", "dispatcher", "worker"]))
    process.send_signal(signal.SIGSTOP)
    time.sleep(3 if world.sqlite else world.random.uniform(1, world.service.settings.lease_seconds + 5))
    process.send_signal(signal.SIGCONT)


def refuse_memory_or_files(world: World) -> None:
    """Let a random process have no further memory, and so no further thread, or no further file, for some seconds."""
    process = world.random_process(world.random.choice(["serve", "dispatcher", "worker"]))
    what = world.random.choice(["memory", "files"])
    world.fault_log[-1] += f" ({what} of {process.pid})"
    with suppress(ProcessLookupError, psutil.NoSuchProcess), nothing_more(process.pid, what):
        time.sleep(world.random.uniform(1, 8))


def outage_longer_than_a_lease(world: World) -> None:
    world.store.outage(world.service.settings.lease_seconds + world.random.uniform(1, 5))


def damage_specs(world: World) -> None:
    """Make specs unreadable for every version: their jobs fail with a reason and do not affect other jobs."""
    with suppress(SQLAlchemyError), world.service.database.write() as session:
        queued = select(Job).where(Job.state == "queued").limit(3)
        for job in session.scalars(queued.with_for_update(skip_locked=True)).all():  # a claimed one has been read
            job.spec = {"version": 1, "prompt": "damaged", "steps": "many"}
            world.allowed[job.id] = {"unreadable_job"}


def damage_inputs(world: World) -> None:
    """Truncate or zero parts of input images, as after a power failure."""
    folder = Blobs(world.service.settings.resolved_blob_url).folder
    assert folder is not None
    for file in sorted((folder / INPUTS).glob("*"))[:3]:
        with suppress(OSError):
            data = bytearray(file.read_bytes())
            data[len(data) // 2 :] = b"" if world.random.random() < 0.5 else bytes(len(data) - len(data) // 2)
            file.write_bytes(data)
            world.damaged_inputs.add(file.name)


def garbage_on_channels(world: World) -> None:
    with suppress(RedisError), world.redis.client() as client:
        for channel in (JOB_CHANNEL, WAKE_CHANNEL, CANCEL_CHANNEL, DELIVERIES_CHANNEL):
            for message in (b"\xff\xfe", b"", b"null", b"[1, 2", b'{"id": 7}', b"job_unknown", b"9" * 5000):
                client.publish(channel, message)


def cancel_some(world: World) -> None:
    """Cancel queued and running jobs, as a client."""
    with suppress(SQLAlchemyError), world.service.database.read() as session:
        live = session.scalars(select(Job.id).where(Job.state.in_(("queued", "running")))).all()
        for job_id in world.random.sample(list(live), min(5, len(live))):
            world.allowed[job_id] = {"canceled"}
    for job_id, ends in list(world.allowed.items()):
        if "canceled" in ends:
            with suppress(httpx.HTTPError):
                httpx.post(f"{world.url}/api/v1/jobs/{job_id}/cancel", timeout=5)


def abort_a_bulk(world: World) -> None:
    """Begin a bulk whose lines expire at once, and disconnect before its end."""
    lines = "".join(json.dumps({"prompt": "aborted", "expires_in": 0.3}) + "\n" for _ in range(600)).encode()
    port = world.service.settings.port
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(
            b"POST /api/v1/bulks HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/jsonl\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (port, len(lines), lines)
        )
        time.sleep(world.random.uniform(0.2, 3))


def fill_picture_store(world: World) -> None:
    world.disk.fill(world.random.uniform(1, 8))


def fill_database_disk(world: World) -> None:
    world.store.fill(world.random.uniform(1, 8))


def zombie_worker(world: World) -> None:
    """Stop a worker until its lease expires and another worker has its jobs; then it continues with stale results."""
    worker = world.random_process("worker")
    worker.send_signal(signal.SIGSTOP)
    time.sleep(world.service.settings.lease_seconds + 2)
    worker.send_signal(signal.SIGCONT)


def flush_redis(world: World) -> None:
    with suppress(RedisError), world.redis.client() as client:
        client.flushall()


def crash_redis(world: World) -> None:
    world.redis.crash()
    time.sleep(world.random.uniform(0, 3))
    world.redis.start()


def freeze_redis(world: World) -> None:
    world.redis.freeze(world.random.uniform(1, 5))


def let_redis_refuse(world: World) -> None:
    """Let Redis answer with refusals, as after a failover or with a full memory."""
    because_of = world.random.choice(list(REFUSALS))
    world.fault_log[-1] += f" as {because_of}"
    with suppress(RedisError), world.redis.refusing(because_of):
        time.sleep(world.random.uniform(1, 8))


def cut_redis_connections(world: World) -> None:
    with suppress(RedisError), world.redis.client() as client:
        for kind in ("normal", "pubsub"):
            client.client_kill_filter(_type=kind, skipme=True)


def cut_database_connections(world: World) -> None:
    world.store.break_connections()


def crash_database(world: World) -> None:
    world.store.crash()


def lock_database(world: World) -> None:
    world.store.lock(world.random.uniform(1, 4))


def duplicate_messages(world: World) -> None:
    """Publish every unfinished job five more times, and a foreign message."""
    with suppress(Exception):
        with world.service.database.read() as session:
            ids = session.scalars(select(Job.id).where(Job.state.in_(("queued", "running")))).all()
        celery = make_celery(world.service.settings)
        publish(celery, "null", [Released(job_id, Lane.NORMAL, 0.0) for job_id in ids for _ in range(5)])
        with world.redis.client() as client:
            client.lpush(queue_name("null", Lane.HIGH), '{"body": "bm90IGpzb24=", "headers": {}, "properties": {}}')


FAULTS: list[Callable[[World], None]] = [
    kill_worker,
    kill_dispatcher,
    kill_web,
    deploy_worker,
    worker_dies_at_a_point,
    zombie_worker,
    flush_redis,
    crash_redis,
    freeze_redis,
    let_redis_refuse,
    cut_redis_connections,
    cut_database_connections,
    crash_database,
    lock_database,
    outage_longer_than_a_lease,
    freeze_in_a_transaction,
    break_a_device,
    move_a_clock,
    stop_a_process,
    refuse_memory_or_files,
    damage_specs,
    damage_inputs,
    garbage_on_channels,
    cancel_some,
    abort_a_bulk,
    fill_picture_store,
    fill_database_disk,
    duplicate_messages,
    receiver_fails,
    run_the_previous_release,
    jump_a_clock,
    cut_one_direction,
]
