"""Many clients at once, also with fewer connections to PostgreSQL than the processes ask for: every accepted job ends
once.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import httpx
import pytest
from sqlalchemy import make_url

from limner_client.local.embedded_valkey import free_port
from tests.conftest import execute
from tests.distributed.null_services import assert_all_correct, null_service, postgresql, redis_server
from tests.processes import Service, eventually

__all__ = ["null_service", "redis_server"]
pytestmark = pytest.mark.long
CONNECTIONS: Final = 12


@pytest.fixture
def limited_url(database_url: str) -> Iterator[str]:
    """The database's URL for a user who has few connections."""
    user = f"limited_{secrets.token_hex(4)}"
    rights = [f"GRANT ALL ON ALL {what} IN SCHEMA public TO {user}" for what in ("TABLES", "SEQUENCES", "FUNCTIONS")]
    execute(database_url, f"CREATE ROLE {user} LOGIN CONNECTION LIMIT {CONNECTIONS}", *rights)
    yield make_url(database_url).set(username=user).render_as_string(hide_password=False)
    execute(database_url, f"DROP OWNED BY {user}", f"DROP ROLE {user}")


@postgresql
@pytest.mark.timeout(600)
def test_ten_thousand_jobs_of_fifty_clients_end_once_each(null_service: Service):
    null_service.change_settings({"port": free_port(), "web_workers": 1})
    null_service.start("dispatcher")
    null_service.start_web()
    null_service.start_workers()
    ids, refused = submit_at_once(null_service, clients=50, jobs_of_each=200)
    assert len(ids) == 10_000
    assert_all_correct(null_service, ids, 200)
    assert refused == 0


@postgresql
def test_every_accepted_job_ends_once_although_connections_are_refused(null_service: Service, limited_url: str):
    service = null_service
    service.change_settings({"database_url": limited_url, "port": free_port(), "web_workers": 1})
    processes = [service.start("dispatcher"), service.start_web(), *service.start_workers()]
    ids, refused = submit_at_once(service, clients=40, jobs_of_each=5)
    assert len(ids) == 200
    assert_all_correct(service, ids, 100)
    assert refused, "no connection was refused"
    assert [process.poll() for process in processes] == [None] * 3
    # The idle processes keep all connections, so that the check's own is refused. The service works, and says so.
    eventually(lambda: httpx.get(f"http://127.0.0.1:{service.settings.port}/readyz").json()["status"] == "ok", 60)


def submit_at_once(service: Service, clients: int, jobs_of_each: int) -> tuple[list[str], int]:
    """The ids of jobs that clients submitted at once, one by one, and how often they were told to try again."""
    refused: list[int] = []

    def client(number: int) -> list[str]:
        with httpx.Client(base_url=f"http://127.0.0.1:{service.settings.port}", trust_env=False, timeout=60) as http:
            return [submit(http, f"{number}-{each}") for each in range(jobs_of_each)]

    def submit(http: httpx.Client, key: str) -> str:
        while True:
            answer = http.post("/api/v1/jobs", json={"prompt": key, "steps": 1}, headers={"Idempotency-Key": key})
            if answer.status_code == 202:
                return answer.json()["id"]
            assert answer.status_code == 503, answer.text
            refused.append(answer.status_code)
            time.sleep(0.1)  # as a client does that is told to try again

    with ThreadPoolExecutor(clients) as pool:
        ids = {job_id for made in pool.map(client, range(clients)) for job_id in made}
    return sorted(ids), len(refused)
