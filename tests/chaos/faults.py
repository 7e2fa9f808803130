"""The faults: each is a function that breaks a part of the service and repairs it if necessary.

Those of processes are in `process_faults`, those of additional processes in other surroundings in `surroundings`, and
those of one tenant's stored things in `poison`.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress

import httpx
from redis.exceptions import RedisError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from limner_shared.db.ledger import Released
from limner_shared.db.tables import Job
from limner_shared.domain.jobs import Lane
from limner_shared.messaging.celery_app import make_celery, publish, queue_name
from limner_shared.messaging.hints import CANCEL_CHANNEL, DELIVERIES_CHANNEL, JOB_CHANNEL, WAKE_CHANNEL
from limner_shared.storage.blobs import INPUTS, Blobs
from tests.chaos.poison import poison_a_tenant
from tests.chaos.process_faults import (
    break_a_device,
    deploy_worker,
    freeze_database,
    freeze_in_a_transaction,
    kill_dispatcher,
    kill_web,
    kill_worker,
    move_a_clock,
    refuse_memory_or_files,
    stop_a_process,
    worker_dies_at_a_point,
    zombie_worker,
)
from tests.chaos.servers import REFUSALS
from tests.chaos.surroundings import cut_one_direction, jump_a_clock, run_the_previous_release
from tests.chaos.webhooks import receiver_fails
from tests.chaos.world import World


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


def mistype_redis_keys(world: World) -> None:
    """Give queues, reports and other keys in Redis a type that no program expects, and remove them after a while."""
    with suppress(RedisError), world.redis.client() as client:
        names = [queue_name("null", lane) for lane in Lane]
        names += world.random.sample(found := sorted(client.scan_iter(count=1000)), min(5, len(found)))
        for name in names:
            wrong = ("set", name, "text") if client.type(name) != "string" else ("lpush", name, "text")
            client.pipeline().delete(name).execute_command(*wrong).execute()
        world.fault_log[-1] += f" {len(names)} keys"
        time.sleep(world.random.uniform(1, 8))
        client.delete(*names)


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
    freeze_database,
    poison_a_tenant,
    mistype_redis_keys,
]
