"""Single faults with real processes and a null model: every accepted job ends exactly once.

`make chaos` (tests/chaos) combines them at random.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import select, text

from limner_client.local.embedded_valkey import free_port
from limner_shared.db import ledger, queries
from limner_shared.db.engine import Database
from limner_shared.db.tables import Event, Job
from limner_shared.domain.jobs import JobState
from limner_shared.threads import EXIT_CODE
from tests.chaos import oracle
from tests.chaos.fault_injection import POINTS
from tests.chaos.servers import RedisServer
from tests.distributed.proxy import Proxy
from tests.processes import Service, environment, eventually

pytestmark = pytest.mark.long

CARD = Path(__file__).parents[1] / "models" / "null.toml"
sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis server for this test only, which the test can break."""
    server = RedisServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def null_service(service: Service, redis_server: RedisServer) -> Service:
    """The service with the null model, and with short leases so that tests do not wait long for them to expire."""
    changes = {"models": (CARD,), "default_model": "null", "redis_url": redis_server.url}
    changes |= {"lease_seconds": 3.0, "heartbeat_seconds": 0.5}
    service.change_settings(changes)
    return service


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


def assert_all_correct(service: Service, ids: list[str], seconds: float = 40) -> None:
    try:
        service.wait(ids, seconds)
    except AssertionError as error:
        raise AssertionError(
            f"{error}: {[(job.state, job.lane) for job in service.jobs(ids)]}\n{service.logs()}"
        ) from error
    assert oracle.violations(service.database, service.settings, set(ids)) == [], service.logs()


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


def flush_all(server: RedisServer) -> None:
    with server.client() as client:
        client.flushall()


def crash(server: RedisServer) -> None:
    server.crash()
    server.start()


def exhaust_memory(server: RedisServer) -> None:
    with server.client() as client:
        client.config_set("maxmemory", "1")
        with suppress(RedisError):
            client.set("limner:full", "1")
        client.config_set("maxmemory", "0")


def disconnect_clients(server: RedisServer) -> None:
    with server.client() as client:
        for kind in ("normal", "pubsub"):
            client.client_kill_filter(_type=kind, skipme=True)


@pytest.mark.parametrize(
    "fault", [flush_all, crash, exhaust_memory, disconnect_clients], ids=lambda fault: fault.__name__
)
@sqlite
def test_every_job_ends_once_despite_faults_of_redis(null_service: Service, redis_server: RedisServer, fault: Any):
    null_service.start("dispatcher")
    null_service.start_workers()
    ids = null_service.submit(60)
    for _ in range(2):
        eventually(lambda: any(job.state == JobState.RUNNING for job in null_service.jobs(ids)))
        fault(redis_server)
    assert_all_correct(null_service, ids)


@postgresql
def test_jobs_run_without_redis(null_service: Service, redis_server: RedisServer):
    null_service.start("dispatcher")
    null_service.start_workers()
    redis_server.crash()
    ids = null_service.submit(20)
    assert_all_correct(null_service, ids)


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


@postgresql
def test_a_lost_commit_response_never_creates_a_second_job(null_service: Service, database_url: str):
    proxy = Proxy(database_url)
    port = free_port()
    null_service.settings = null_service.settings.model_copy(
        update={"port": port, "web_workers": 1, "database_url": proxy.url}
    )
    null_service.start("serve")
    with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=10) as client:
        eventually(lambda: responds(client), 30)
        body = {"prompt": "x"}
        ids: list[str] = []
        proxy.to_drop = 1
        while len(ids) < 2:
            answer = client.post("/jobs", json=body, headers={"Idempotency-Key": "once"})
            if answer.is_success:
                ids.append(answer.json()["id"])
            else:
                assert answer.status_code == 503, answer.text
    proxy.close()
    assert proxy.dropped == 1
    with null_service.database.read() as session:
        assert session.scalars(select(Job.id)).all() == ids[:1]
    assert len(set(ids)) == 1


def responds(client: httpx.Client) -> bool:
    try:
        return client.get("/models").is_success
    except httpx.HTTPError:
        return False


@pytest.fixture
def api(null_service: Service) -> Iterator[httpx.Client]:
    """An HTTP client for the service's web process."""
    null_service.settings = null_service.settings.model_copy(update={"port": free_port(), "web_workers": 1})
    null_service.start("serve")
    with httpx.Client(base_url=f"http://127.0.0.1:{null_service.settings.port}/api/v1", timeout=30) as client:
        eventually(lambda: responds(client), 30)
        yield client


@postgresql
def test_a_read_only_database_causes_503_until_it_is_writable_again(null_service: Service, api: httpx.Client):
    null_service.start("dispatcher")
    null_service.start_workers()
    ids = null_service.submit(20)
    name = null_service.database.engine.url.database
    terminate_others = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name AND pid <> pg_backend_pid()"
    )
    with null_service.database.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as admin:
        admin.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
        admin.execute(terminate_others, {"name": name})
        refused: Any = eventually(lambda: (a := api.post("/jobs", json={"prompt": "x"})).status_code == 503 and a)
        assert refused.json()["code"] == "service_unavailable"
        assert "Retry-After" in refused.headers
        admin.execute(text(f"ALTER DATABASE {name} RESET default_transaction_read_only"))
        admin.execute(terminate_others, {"name": name})
    accepted: Any = eventually(lambda: (a := api.post("/jobs", json={"prompt": "x"})).is_success and a)
    assert_all_correct(null_service, [*ids, accepted.json()["id"]])


@postgresql
def test_requests_wait_for_a_locked_table(null_service: Service, api: httpx.Client):
    null_service.start("dispatcher")
    null_service.start_workers()
    ids = null_service.submit(20)
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    with null_service.database.engine.connect() as admin, ThreadPoolExecutor(1) as pool:
        admin.execute(text("LOCK TABLE jobs IN EXCLUSIVE MODE"))
        accepted = pool.submit(api.post, "/jobs", json={"prompt": "x"})
        eventually(lambda: admin.scalar(waiting))
        admin.rollback()
        ids.append(accepted.result(30).json()["id"])
    assert_all_correct(null_service, ids)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="mounting a small disk needs root")
@sqlite
def test_a_full_database_disk_refuses_new_jobs_and_keeps_old_ones(null_service: Service, tmp_path: Path):
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=False).returncode:
        pytest.skip("this machine does not let a test mount a disk")
    try:
        check_full_disk(null_service, folder)
    finally:
        null_service.stop()
        subprocess.run(["umount", "-l", str(folder)], check=False)


def check_full_disk(service: Service, folder: Path) -> None:
    file = folder / "limner.db"
    shutil.copy(str(service.database.engine.url.database), file)
    service.database.dispose()
    service.database = Database(f"sqlite:///{file}")
    port = free_port()
    changes = {"port": port, "web_workers": 1, "database_url": f"sqlite:///{file}"}
    service.settings = service.settings.model_copy(update=changes)
    service.start("serve")
    with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=30) as client:
        eventually(lambda: responds(client), 30)
        kept = [client.post("/jobs", json={"prompt": "x", "seed": n}).json()["id"] for n in range(5)]
        ballast = folder / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as out:
            while out.write(b"0" * 4096):
                continue
        lines = "".join(json.dumps({"prompt": "x" * 300}) + "\n" for _ in range(5000))
        refused = client.post("/bulks", content=lines, headers={"Content-Type": "application/jsonl"})
        assert (refused.status_code, refused.json()["code"]) == (503, "service_unavailable"), service.logs()
        ballast.unlink()
        eventually(lambda: client.post("/jobs", json={"prompt": "after"}).is_success)
    with service.database.read() as session:
        assert all(queries.job(session, ledger.LOCAL_TENANT, job_id).state == "queued" for job_id in kept)


@sqlite
def test_duplicate_messages_run_no_job_twice(null_service: Service, redis_server: RedisServer):
    null_service.start("dispatcher")
    null_service.start_workers()
    ids = null_service.submit(50)
    eventually(lambda: any(job.state == JobState.RUNNING for job in null_service.jobs(ids)))
    with Redis.from_url(redis_server.url) as client:
        for key in client.keys("limner.null.*"):
            for message in client.lrange(key, 0, -1) * 4:
                client.lpush(key, message)
    assert_all_correct(null_service, ids)
    assert {job.attempt for job in null_service.jobs(ids)} == {1}
