"""PostgreSQL with fewer connections than the processes ask for, and many clients at once: nothing accepted is lost."""

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
from tests.distributed.null_services import assert_all_correct, null_service, redis_server
from tests.processes import Service, eventually

__all__ = ["null_service", "redis_server"]
pytestmark = [pytest.mark.long, pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)]
CONNECTIONS: Final = 12
CLIENTS, JOBS_OF_EACH = 40, 5


@pytest.fixture
def limited_url(database_url: str) -> Iterator[str]:
    """The database's URL for a user who has few connections."""
    user = f"limited_{secrets.token_hex(4)}"
    rights = [f"GRANT ALL ON ALL {what} IN SCHEMA public TO {user}" for what in ("TABLES", "SEQUENCES", "FUNCTIONS")]
    execute(database_url, f"CREATE ROLE {user} LOGIN CONNECTION LIMIT {CONNECTIONS}", *rights)
    yield make_url(database_url).set(username=user).render_as_string(hide_password=False)
    execute(database_url, f"DROP OWNED BY {user}", f"DROP ROLE {user}")


def test_every_accepted_job_ends_once_although_connections_are_refused(null_service: Service, limited_url: str):
    service = null_service
    service.change_settings({"database_url": limited_url, "port": free_port(), "web_workers": 1})
    processes = [service.start("dispatcher"), service.start_web(), *service.start_workers()]
    refused: list[int] = []

    def client(number: int) -> list[str]:
        with httpx.Client(base_url=f"http://127.0.0.1:{service.settings.port}", trust_env=False, timeout=60) as http:
            return [submit(http, f"{number}-{each}") for each in range(JOBS_OF_EACH)]

    def submit(http: httpx.Client, key: str) -> str:
        while True:
            answer = http.post("/api/v1/jobs", json={"prompt": key}, headers={"Idempotency-Key": key})
            if answer.status_code == 202:
                return answer.json()["id"]
            assert answer.status_code == 503, answer.text
            refused.append(answer.status_code)
            time.sleep(0.1)  # as a client does that is told to try again

    with ThreadPoolExecutor(CLIENTS) as pool:
        ids = [job_id for made in pool.map(client, range(CLIENTS)) for job_id in made]
    assert len(set(ids)) == CLIENTS * JOBS_OF_EACH
    assert_all_correct(service, ids, 100)
    assert refused, "no connection was refused"
    assert [process.poll() for process in processes] == [None] * 3
    eventually(lambda: httpx.get(f"http://127.0.0.1:{service.settings.port}/readyz").json()["status"] == "ok", 60)
