"""What is done to the service: each fault is a function that hurts it and, where it must, heals it again."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from redis.exceptions import RedisError
from sqlalchemy import select

from limner_shared.celery_app import make_celery, publish, queue_name
from limner_shared.jobs import Lane
from limner_shared.ledger import Released
from limner_shared.tables import Job
from tests.chaos.faulty import POINTS
from tests.chaos.servers import RedisServer, Store
from tests.processes import Service, environment


@dataclass
class World:
    """The service under test: its processes by role, which come back when they die, as under a supervisor."""

    service: Service
    redis: RedisServer
    store: Store
    random: random.Random
    roles: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def tend(self) -> None:
        """Start whatever is not running."""
        for role in ("serve", "dispatch-1", "dispatch-2", "worker-1", "worker-2"):
            if role not in self.roles or self.roles[role].poll() is not None:
                self.roles[role] = self.service.start(role.partition("-")[0])

    def some(self, kind: str) -> subprocess.Popen[bytes]:
        """One process of a kind."""
        return self.roles[self.random.choice([role for role in self.roles if role.startswith(kind)])]

    def stop(self) -> None:
        """End everything."""
        self.service.stop()
        self.redis.stop()
        self.store.stop()


def kill_worker(world: World) -> None:
    world.some("worker").kill()


def kill_dispatcher(world: World) -> None:
    world.some("dispatch").kill()


def kill_web(world: World) -> None:
    world.some("serve").kill()


def deploy_worker(world: World) -> None:
    world.some("worker").terminate()


def worker_dies_at_a_point(world: World) -> None:
    """A worker of its own, beside the others, that dies somewhere in its work."""
    point, count = world.random.choice(list(POINTS)), world.random.randint(1, 12)
    world.told[-1] += f" {point} #{count}"
    with (world.service.folder / f"faulty-{len(world.service.processes)}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.faulty", point, str(count), "worker"],
            env=environment(world.service.settings),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    world.service.processes.append(process)
    with suppress(subprocess.TimeoutExpired):
        process.wait(6)
    process.kill()


def zombie_worker(world: World) -> None:
    """It sleeps past its lease, another one does its jobs, and it wakes up with results that nobody wants."""
    worker = world.some("worker")
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


def fill_redis(world: World) -> None:
    with suppress(RedisError), world.redis.client() as client:
        client.config_set("maxmemory", "1")
        time.sleep(2)
        client.config_set("maxmemory", "0")


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
    """Every job that is not done is published five times more, beside a few messages that are not ours."""
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
    fill_redis,
    cut_redis_connections,
    cut_database_connections,
    crash_database,
    lock_database,
    duplicate_messages,
]
