"""Faults of the database with real processes: lost responses, locks and full disks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from sqlalchemy import select, text

from limner_client.local.embedded_valkey import free_port
from limner_shared.db import ledger, queries
from limner_shared.db.engine import Database
from limner_shared.db.tables import Job
from tests.distributed.null_services import assert_all_correct, null_service, postgresql, redis_server, sqlite
from tests.distributed.proxy import Proxy
from tests.processes import Service, eventually
from tests.small_disks import fill, needs_root, small_disk

pytestmark = pytest.mark.long
__all__ = ["null_service", "redis_server"]


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


@postgresql
def test_a_web_process_that_ended_is_replaced_while_the_database_is_away(null_service: Service, database_url: str):
    proxy = Proxy(database_url)
    changes = {"port": free_port(), "web_workers": 1, "database_url": proxy.url}
    null_service.settings = null_service.settings.model_copy(update=changes)
    server = psutil.Process(null_service.start("serve").pid)
    with httpx.Client(base_url=f"http://127.0.0.1:{changes['port']}", timeout=10) as client:
        eventually(lambda: is_alive(client), 30)
        [first] = server.children()
        proxy.refuse()
        first.kill()
        eventually(lambda: first not in server.children() and is_alive(client), 30)
        assert client.get("/readyz").status_code == 503
        proxy.restore()
        eventually(lambda: client.post("/api/v1/jobs", json={"prompt": "x"}).is_success, 30)
        assert server.is_running()
    proxy.close()


def is_alive(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").is_success
    except httpx.HTTPError:
        return False


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


@needs_root
@sqlite
def test_a_full_database_disk_refuses_new_jobs_and_keeps_old_ones(null_service: Service, tmp_path: Path):
    with small_disk(tmp_path / "small", megabytes=4) as folder:
        try:
            check_full_disk(null_service, folder)
        finally:
            null_service.stop()


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
        fill(ballast)
        lines = "".join(json.dumps({"prompt": "x" * 300}) + "\n" for _ in range(5000))
        refused = client.post("/bulks", content=lines, headers={"Content-Type": "application/jsonl"})
        assert (refused.status_code, refused.json()["code"]) == (507, "database_full"), service.logs()
        ballast.unlink()
        eventually(lambda: client.post("/jobs", json={"prompt": "after"}).is_success)
    with service.database.read() as session:
        assert all(queries.job(session, ledger.LOCAL_TENANT, job_id).state == "queued" for job_id in kept)
