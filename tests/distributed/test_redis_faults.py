"""Faults of Redis with real processes and a null model: every accepted job ends once."""

from __future__ import annotations

from typing import Any

import pytest

from limner_shared.domain.jobs import JobState
from tests.chaos.servers import REFUSALS, RedisServer
from tests.distributed.null_services import assert_all_correct, null_service, postgresql, redis_server, sqlite
from tests.processes import Service, eventually
from tests.redis_clients import redis_at

pytestmark = pytest.mark.long
__all__ = ["null_service", "redis_server"]


def flush_all(server: RedisServer) -> None:
    with server.client() as client:
        client.flushall()


def crash(server: RedisServer) -> None:
    server.crash()
    server.start()


def disconnect_clients(server: RedisServer) -> None:
    with server.client() as client:
        for kind in ("normal", "pubsub"):
            client.client_kill_filter(_type=kind, skipme=True)


@pytest.mark.parametrize("fault", [flush_all, crash, disconnect_clients], ids=lambda fault: fault.__name__)
@sqlite
def test_every_job_ends_once_despite_faults_of_redis(null_service: Service, redis_server: RedisServer, fault: Any):
    null_service.start("dispatcher")
    null_service.start_workers()
    ids = null_service.submit(60)
    for _ in range(2):
        eventually(lambda: any(job.state == JobState.RUNNING for job in null_service.jobs(ids)))
        fault(redis_server)
    assert_all_correct(null_service, ids)


@pytest.mark.parametrize("because_of", REFUSALS)
@sqlite
def test_no_process_ends_while_redis_refuses_commands(
    null_service: Service, redis_server: RedisServer, because_of: str
):
    processes = [null_service.start("dispatcher"), *null_service.start_workers()]
    first = null_service.submit(60)
    eventually(lambda: any(job.state == JobState.RUNNING for job in null_service.jobs(first)))
    with redis_server.refusing(because_of):
        without = null_service.submit(20)
        null_service.wait(first + without)
    assert_all_correct(null_service, first + without + null_service.submit(20))
    assert [process.poll() for process in processes] == [None, None]


@postgresql
def test_jobs_run_without_redis(null_service: Service, redis_server: RedisServer):
    null_service.start("dispatcher")
    null_service.start_workers()
    redis_server.crash()
    ids = null_service.submit(20)
    assert_all_correct(null_service, ids)


@sqlite
def test_duplicate_messages_run_no_job_twice(null_service: Service, redis_server: RedisServer):
    null_service.start("dispatcher")
    null_service.start_workers()
    ids = null_service.submit(50)
    eventually(lambda: any(job.state == JobState.RUNNING for job in null_service.jobs(ids)))
    with redis_at(redis_server.url) as client:
        for key in client.keys("limner.null.*"):
            for message in client.lrange(key, 0, -1) * 4:
                client.lpush(key, message)
    assert_all_correct(null_service, ids)
    assert {job.attempt for job in null_service.jobs(ids)} == {1}
