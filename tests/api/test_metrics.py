"""Who may read the web server's metrics, what they say, and that several processes count together."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from limner_client.local.embedded_valkey import free_port
from limner_client.local.findings import State
from limner_client.operations.remote_doctor import connect, examine
from limner_shared.db.engine import Database
from limner_shared.db.schema import VERSION_TABLE
from limner_shared.messaging.reports import WorkerReport, write_report
from limner_shared.settings import Settings
from tests.api.clients import ApiClient, App
from tests.processes import Service, eventually
from tests.redis_clients import redis_at

PATHS = ("/metrics", "/metrics/targets")


def sample(text: str, name: str, **labels: str) -> float:
    families = text_string_to_metric_families(text)
    found = [each for family in families for each in family.samples if each.name == name]
    return sum(each.value for each in found if labels.items() <= each.labels.items())


@pytest.mark.parametrize("path", PATHS)
def test_a_service_for_this_machine_alone_shows_its_metrics_to_all_of_its_clients(client: ApiClient, path: str):
    assert client.get(path).status_code == 200
    assert client.get(path, headers={"Host": "pictures.example"}).status_code == 403


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("changes", [{"require_keys": True}, {"public_url": "https://pictures.example"}])
def test_without_an_operators_key_a_public_service_shows_no_metrics(
    make_app: Callable[..., App], changes: dict[str, Any], path: str
):
    answer = make_app(**changes).test_client().get(path)
    assert answer.status_code == 403
    assert "LIMNER_METRICS_KEY" in answer.json["detail"]


@pytest.mark.parametrize("path", PATHS)
def test_with_an_operators_key_only_that_key_shows_metrics(make_app: Callable[..., App], path: str):
    client = make_app(require_keys=True, metrics_key="secret").test_client()
    for wrong in (
        {},
        {"Authorization": "Bearer secre"},
        {"Authorization": "Basic secret"},
        {"Authorization": "Bearer é"},
    ):
        assert client.get(path, headers=wrong).status_code == 401
    assert client.get(path, headers={"Authorization": "Bearer secret"}).status_code == 200


def test_the_targets_are_the_addresses_that_processes_report(
    client: ApiClient, make_app: Callable[..., App], settings: Settings
):
    with redis_at(settings.redis_url) as redis:
        for number, address in enumerate(("127.0.0.1:9001", "")):
            report = WorkerReport(
                owner=f"w{number}", models=[], device="cpu", held=0, closed=[], stalled=[], metrics=address
            )
            write_report(redis, report)
    assert client.get("/metrics/targets").json == [{"targets": ["127.0.0.1:9001"], "labels": {"job": "limner-worker"}}]
    of_cell = make_app(cell="a", require_keys=True, public_url="https://pictures.example", metrics_key="secret")
    answer = of_cell.test_client().get("/metrics/targets", headers={"Authorization": "Bearer secret"})
    assert [each["labels"] for each in answer.json] == [{"job": "limner-worker", "cell": "a"}]


def test_without_redis_no_target_is_known(make_app: Callable[..., App]):
    answer = make_app(redis_url=f"redis://127.0.0.1:{free_port()}/0").test_client().get("/metrics/targets")
    assert (answer.status_code, answer.json) == (200, [])


def test_requests_are_counted_by_route_and_never_by_path(client: ApiClient):
    before = client.get("/metrics").text
    for path in ("/api/v1/jobs/job_1", "/api/v1/jobs/job_2", "/nowhere/1", "/nowhere/2"):
        assert client.get(path).status_code == 404
    client.open("/api/v1/jobs", method="BREW")
    text = client.get("/metrics").text

    def grown(**labels: str) -> float:
        name = "limner_http_requests_total"
        return sample(text, name, **labels) - sample(before, name, **labels)

    assert grown(route="/api/v1/jobs/<id:job_id>", status="404") == 2
    assert grown(route="none", status="404") == 2
    assert grown(method="other") == 1
    assert not re.search(r"job_1|nowhere|BREW", text)


@pytest.fixture
def two_processes(settings: Settings, database_url: str, database: Database, tmp_path: Path) -> Iterator[Service]:
    """`limner serve` with two processes, keys required, and an operator's port."""
    changes = {"port": free_port(), "metrics_port": free_port(), "web_workers": 2, "require_keys": True}
    service = Service(settings.model_copy(update={"database_url": database_url, **changes}), database, tmp_path)
    service.start_web()
    yield service
    service.stop()


def test_the_operators_port_serves_the_sum_of_all_processes_and_nothing_else(two_processes: Service):
    settings = two_processes.settings
    web, operator = (f"http://127.0.0.1:{port}" for port in (settings.port, settings.metrics_port))
    route = {"route": "/api/v1/models", "status": "401"}

    def counted() -> float:
        return sample(httpx.get(f"{operator}/metrics", trust_env=False).text, "limner_http_requests_total", **route)

    before = counted()
    for _ in range(40):  # each on a connection of its own, so that both processes answer some
        assert httpx.get(f"{web}/api/v1/models", trust_env=False).status_code == 401
    assert counted() - before == 40
    itself = {"targets": [f"127.0.0.1:{settings.metrics_port}"], "labels": {"job": "limner-web"}}
    eventually(lambda: httpx.get(f"{operator}/metrics/targets", trust_env=False).json() == [itself])
    assert httpx.get(f"{operator}/api/v1/models", trust_env=False).status_code == 404
    assert httpx.get(f"{operator}/readyz/", trust_env=False).status_code == 404
    assert httpx.get(f"{operator}/healthz", trust_env=False, headers={"Host": "web:9100"}).status_code == 200
    forged = {"limner.operator": "1", "Limner-Operator": "1", "X-Forwarded-Port": str(settings.metrics_port)}
    assert httpx.get(f"{web}/metrics", trust_env=False, headers=forged).status_code == 403


def test_the_doctor_examines_a_service_at_its_operators_port(two_processes: Service):
    with connect(f"127.0.0.1:{two_processes.settings.metrics_port}") as http:
        eventually(lambda: http.get("/metrics/targets").json() != [])
        found = {check.name: check for check in examine(http, "", "")}
    assert [found[name].state for name in ("server", "database", "redis", "metrics")] == [State.OK] * 4
    assert "operator's port" in found["key"].found
    assert found["worker"].found == "none is running"
    assert found["metrics"].found == "of the web server and 0 other processes"


@pytest.mark.long
def test_counts_survive_the_death_of_all_processes(two_processes: Service):
    settings = two_processes.settings
    operator = f"http://127.0.0.1:{settings.metrics_port}/metrics"

    def counted() -> float:
        text = httpx.get(operator, trust_env=False).text
        return sample(text, "limner_http_requests_total", route="/api/v1/models")

    for _ in range(20):
        httpx.get(f"http://127.0.0.1:{settings.port}/api/v1/models", trust_env=False)
    master = two_processes.processes[0].pid
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    eventually(two_processes.web_responds)
    assert counted() == 20


@pytest.mark.timeout(60)
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_migrations_lock_holds_up_no_health_check(client: ApiClient, database: Database):
    with database.write() as session:
        session.execute(text(f"LOCK TABLE {VERSION_TABLE} IN ACCESS EXCLUSIVE MODE"))
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json["database"]) == (503, "away")
    eventually(lambda: client.get("/readyz").status_code == 200)
