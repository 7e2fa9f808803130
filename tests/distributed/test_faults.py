"""Each fault by itself, with real processes, a null model and everything else real: what is accepted is done once.

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

CARD = Path(__file__).parents[1] / "models" / "null.toml"
sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own, to be hurt."""
    server = RedisServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def nulls(service: Service, redis_server: RedisServer) -> Service:
    """The service with the null model, and short leases so that a test need not wait long for them."""
    changes = {"models": (CARD,), "default_model": "null", "redis_url": redis_server.url}
    changes |= {"lease_seconds": 3.0, "heartbeat_seconds": 0.5}
    service.settings = type(service.settings)(**service.settings.model_dump(exclude_unset=True) | changes)
    return service


def start_faulty(service: Service, point: str, count: int | str) -> subprocess.Popen[bytes]:
    """A worker with a fault in it."""
    with (service.folder / f"faulty-{len(service.processes)}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.fault_injection", point, str(count), "worker"],
            env=environment(service.settings),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    service.processes.append(process)
    return process


def assert_all_is_well(service: Service, ids: list[str], seconds: float = 40) -> None:
    try:
        service.wait(ids, seconds)
    except AssertionError as error:
        raise AssertionError(
            f"{error}: {[(job.state, job.lane) for job in service.jobs(ids)]}\n{service.logs()}"
        ) from error
    assert oracle.faults(service.database, service.settings, set(ids)) == [], service.logs()


@pytest.mark.parametrize("point", POINTS)
@postgresql
def test_a_worker_that_dies_anywhere_in_its_work_loses_and_doubles_nothing(nulls, point):
    nulls.start("dispatch")
    doomed = start_faulty(nulls, point, 3)
    eventually(lambda: nulls.workers_on_board() == 1, 60)
    ids = nulls.submit(30)
    assert doomed.wait(30) == -signal.SIGKILL
    nulls.start_workers()
    assert_all_is_well(nulls, ids)


@pytest.mark.parametrize("point", ["in-step", "before-commit"])
@sqlite
def test_a_zombies_late_result_is_discarded(nulls, point):
    nulls.start("dispatch")
    zombie = start_faulty(nulls, f"stop-{point}", 1)
    eventually(lambda: nulls.workers_on_board() == 1, 60)
    ids = nulls.submit()
    eventually(lambda: nulls.jobs(ids)[0].state == JobState.RUNNING)
    nulls.start("worker")
    assert nulls.wait(ids)[0].attempt == 2
    zombie.send_signal(signal.SIGCONT)
    eventually(lambda: any(word in nulls.logs() for word in ("discarded", "dropping")))
    assert_all_is_well(nulls, ids)


@postgresql
def test_a_step_that_hangs_ends_its_worker_and_the_others_jobs_go_on_elsewhere(nulls):
    nulls.settings = type(nulls.settings)(
        **nulls.settings.model_dump(exclude_unset=True) | {"step_timeout_seconds": 2.0}
    )
    nulls.start("dispatch")
    hanging = start_faulty(nulls, "poison", 0)
    eventually(lambda: nulls.workers_on_board() == 1, 60)
    [poison] = nulls.submit(prompt="poison: hangs")
    eventually(lambda: nulls.jobs([poison])[0].state == JobState.RUNNING)
    others = nulls.submit(5)
    assert hanging.wait(30) == EXIT_CODE, nulls.logs()
    nulls.start_workers()
    assert_all_is_well(nulls, [poison, *others])
    assert {job.losses for job in nulls.jobs(others)} == {0}


def flush(server: RedisServer) -> None:
    with server.client() as client:
        client.flushall()


def crash(server: RedisServer) -> None:
    server.crash()
    server.start()


def fill(server: RedisServer) -> None:
    with server.client() as client:
        client.config_set("maxmemory", "1")
        with suppress(RedisError):
            client.set("limner:full", "1")
        client.config_set("maxmemory", "0")


def cut(server: RedisServer) -> None:
    with server.client() as client:
        for kind in ("normal", "pubsub"):
            client.client_kill_filter(_type=kind, skipme=True)


@pytest.mark.parametrize("fault", [flush, crash, fill, cut], ids=lambda fault: fault.__name__)
@sqlite
def test_whatever_becomes_of_redis_every_job_is_done_once(nulls, redis_server, fault):
    nulls.start("dispatch")
    nulls.start_workers()
    ids = nulls.submit(60)
    for _ in range(2):
        eventually(lambda: any(job.state == JobState.RUNNING for job in nulls.jobs(ids)))
        fault(redis_server)
    assert_all_is_well(nulls, ids)


@postgresql
def test_work_goes_on_while_redis_is_away(nulls, redis_server):
    nulls.start("dispatch")
    nulls.start_workers()
    redis_server.crash()
    ids = nulls.submit(20)
    assert_all_is_well(nulls, ids)


@postgresql
def test_another_dispatcher_takes_over_within_ten_seconds(nulls):
    nulls.start_workers()
    first = nulls.start("dispatch")
    assert_all_is_well(nulls, nulls.submit(5))
    nulls.start("dispatch")
    first.kill()
    ids = nulls.submit(5)
    started = time.monotonic()
    nulls.wait(ids, 30)
    assert time.monotonic() - started < 10


@sqlite
def test_a_worker_whose_clock_is_two_hours_ahead_changes_nothing(nulls):
    nulls.start("dispatch")
    nulls.start_workers()
    start_faulty(nulls, "clock", 7200)
    eventually(lambda: nulls.workers_on_board() == 2, 60)
    ids = nulls.submit(100)
    assert_all_is_well(nulls, ids)
    assert {job.attempt for job in nulls.jobs(ids)} == {1}


@postgresql
def test_a_job_that_kills_its_worker_runs_alone_and_becomes_a_dead_letter_and_its_neighbours_are_done(nulls):
    nulls.start("dispatch")
    workers = [start_faulty(nulls, "poison", 0)]
    [poison] = nulls.submit(prompt="poison: exits")
    innocent = nulls.submit(40)
    deadline = time.monotonic() + 90
    while any(not JobState(job.state).terminal for job in nulls.jobs([poison, *innocent])):
        if workers[-1].poll() is not None:
            workers.append(start_faulty(nulls, "poison", 0))
        assert time.monotonic() < deadline, nulls.logs()
        time.sleep(0.1)
    [dead] = nulls.jobs([poison])
    assert (dead.state, dead.error_code, dead.losses) == ("failed", "worker_lost", 4)
    assert "nothing else in hand" in dead.error_message
    assert {job.state for job in nulls.jobs(innocent)} == {"succeeded"}
    assert max(job.losses for job in nulls.jobs(innocent)) <= 2
    with nulls.database.read() as session:
        kinds = session.scalars(select(Event.kind).where(Event.job_id == poison).order_by(Event.id)).all()
    assert kinds == ["claimed", "requeued"] * 3 + ["claimed", "failed"]


@sqlite
def test_a_job_whose_model_left_the_catalogue_fails_and_says_so(nulls):
    [gone] = nulls.submit()
    with nulls.database.write() as session:
        session.execute(text("UPDATE jobs SET model = 'gone', created_at = created_at - 120"))
    nulls.start("dispatch")
    [job] = nulls.wait([gone])
    assert (job.state, job.error_code) == ("failed", "model_unavailable")
    assert "no longer served" in job.error_message


@postgresql
def test_a_lost_answer_to_a_commit_costs_a_repeat_and_never_a_second_job(nulls, database_url):
    proxy = Proxy(database_url)
    port = free_port()
    nulls.settings = nulls.settings.model_copy(update={"port": port, "web_workers": 1, "database_url": proxy.url})
    nulls.start("serve")
    with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=10) as client:
        eventually(lambda: answers(client), 30)
        body = {"prompt": "x"}
        ids: list[str] = []
        proxy.lose = 1
        while len(ids) < 2:
            answer = client.post("/jobs", json=body, headers={"Idempotency-Key": "once"})
            if answer.is_success:
                ids.append(answer.json()["id"])
            else:
                assert answer.status_code == 503, answer.text
    proxy.close()
    assert proxy.lost == 1
    with nulls.database.read() as session:
        assert session.scalars(select(Job.id)).all() == ids[:1]
    assert len(set(ids)) == 1


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/models").is_success
    except httpx.HTTPError:
        return False


@pytest.fixture
def front_door(nulls: Service) -> Iterator[httpx.Client]:
    """The service's web process, asked over HTTP."""
    nulls.settings = nulls.settings.model_copy(update={"port": free_port(), "web_workers": 1})
    nulls.start("serve")
    with httpx.Client(base_url=f"http://127.0.0.1:{nulls.settings.port}/api/v1", timeout=30) as client:
        eventually(lambda: answers(client), 30)
        yield client


@postgresql
def test_a_read_only_database_is_refused_with_503_and_the_work_goes_on_when_it_can_be_written(nulls, front_door):
    nulls.start("dispatch")
    nulls.start_workers()
    ids = nulls.submit(20)
    name = nulls.database.engine.url.database
    cut_others = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name AND pid <> pg_backend_pid()"
    )
    with nulls.database.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as admin:
        admin.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
        admin.execute(cut_others, {"name": name})
        refused = eventually(lambda: (a := front_door.post("/jobs", json={"prompt": "x"})).status_code == 503 and a)
        assert refused.json()["code"] == "service_unavailable"
        assert "Retry-After" in refused.headers
        admin.execute(text(f"ALTER DATABASE {name} RESET default_transaction_read_only"))
        admin.execute(cut_others, {"name": name})
    accepted = eventually(lambda: (a := front_door.post("/jobs", json={"prompt": "x"})).is_success and a)
    assert_all_is_well(nulls, [*ids, accepted.json()["id"]])


@postgresql
def test_a_locked_table_makes_requests_wait_and_loses_none(nulls, front_door):
    nulls.start("dispatch")
    nulls.start_workers()
    ids = nulls.submit(20)
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    with nulls.database.engine.connect() as admin, ThreadPoolExecutor(1) as pool:
        admin.execute(text("LOCK TABLE jobs IN EXCLUSIVE MODE"))
        accepted = pool.submit(front_door.post, "/jobs", json={"prompt": "x"})
        eventually(lambda: admin.scalar(waiting))
        admin.rollback()
        ids.append(accepted.result(30).json()["id"])
    assert_all_is_well(nulls, ids)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="mounting a small disk needs root")
@sqlite
def test_a_full_disk_under_the_database_refuses_new_jobs_and_keeps_the_old(nulls, tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=False).returncode:
        pytest.skip("this machine does not let a test mount a disk")
    try:
        full_disk(nulls, folder)
    finally:
        nulls.stop()
        subprocess.run(["umount", "-l", str(folder)], check=False)


def full_disk(service: Service, folder: Path) -> None:
    file = folder / "limner.db"
    shutil.copy(service.database.engine.url.database, file)
    service.database.dispose()
    service.database = Database(f"sqlite:///{file}")
    port = free_port()
    changes = {"port": port, "web_workers": 1, "database_url": f"sqlite:///{file}"}
    service.settings = service.settings.model_copy(update=changes)
    service.start("serve")
    with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=30) as client:
        eventually(lambda: answers(client), 30)
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
def test_doubled_messages_of_every_job_run_nothing_twice(nulls, redis_server):
    nulls.start("dispatch")
    nulls.start_workers()
    ids = nulls.submit(50)
    eventually(lambda: any(job.state == JobState.RUNNING for job in nulls.jobs(ids)))
    with Redis.from_url(redis_server.url) as client:
        for key in client.keys("limner.null.*"):
            for message in client.lrange(key, 0, -1) * 4:
                client.lpush(key, message)
    assert_all_is_well(nulls, ids)
    assert {job.attempt for job in nulls.jobs(ids)} == {1}
