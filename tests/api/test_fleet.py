"""The operator's view of all queues and workers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from limner_shared.db.engine import Database
from limner_shared.messaging.reports import WorkerReport, delete_report, write_report
from limner_web.api import fleet
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_bulks import both_databases
from tests.api.test_keys import make_key

JOBS, QUEUES, WORKERS = "/api/v1/jobs", "/api/v1/queues", "/api/v1/workers"
TENANTS = f"{QUEUES}/tenants"
MODEL = "limner-flow"


@pytest.fixture
def worker(app: App):
    redis = app.extensions["limner"].hints.redis
    report = WorkerReport(
        owner="a worker",
        models=[MODEL],
        device="cuda:0",
        held=1,
        closed=[],
        stalled=[],
        memory_used=2_000,
        memory_total=8_000,
    )
    write_report(redis, report)
    yield report
    delete_report(redis, WorkerReport, report.owner)


@both_databases
def test_a_queue_shows_what_runs_and_waits_in_each_lane_and_its_pause(client: ApiClient, app: App, worker: Any):
    for priority in ("normal", "normal", "low"):
        client.post(JOBS, json={"prompt": "a secret", "priority": priority})
    running = client.post(JOBS, json={"prompt": "a secret"}).json["id"]
    start(app, running)
    pause = client.post("/api/v1/pauses", json={"model": MODEL, "reason": "new weights"}).json["id"]
    answer = client.get(QUEUES)
    assert "a secret" not in answer.text
    [queue] = [each for each in answer.json["items"] if each["model"] == MODEL]
    assert (queue["running"], queue["workers"], queue["pause"]) == (1, 1, pause)
    assert queue["paused"]["reason"] == "new weights"
    waiting = {each["lane"]: each["released"] + each["backlog"] for each in queue["lanes"]}
    assert waiting == {"first": 1, "high": 0, "normal": 1, "low": 1, "alone": 0}
    [other] = [each for each in answer.json["items"] if each["model"] == "limner-gan"]
    assert (other["running"], other["workers"], other["paused"], other["pause"]) == (0, 0, None, None)


@both_databases
def test_a_worker_shows_its_device_its_memory_and_the_jobs_that_it_runs(client: ApiClient, app: App, worker: Any):
    running = client.post(JOBS, json={"prompt": "a secret"}).json["id"]
    start(app, running)
    answer = client.get(WORKERS)
    assert "a secret" not in answer.text
    [found] = answer.json["items"]
    assert (found["id"], found["device"], found["memory"]) == (worker.owner, "cuda:0", {"used": 2_000, "total": 8_000})
    assert [(job["id"], job["attempt"]) for job in found["jobs"]] == [(running, 1)]


@both_databases
def test_the_tenants_with_jobs_are_listed_with_what_waits_and_runs(
    make_app: Callable[..., App], database: Database, monkeypatch: pytest.MonkeyPatch
):
    app = make_app(require_keys=True)
    client = app.test_client()
    operator = make_key(database, "local", "admin")
    keys = {name: make_key(database, name) for name in ("acme", "busy", "idle", "later", "paused")}

    def submit(name: str, **fields: str) -> str:
        return client.post(JOBS, json={"prompt": "a secret", **fields}, headers=keys[name]).json["id"]

    def listed() -> list[tuple[str, int, int]]:
        items = client.get(TENANTS, headers=operator).json["items"]
        return [(each["tenant"], each["waiting"], each["running"]) for each in items]

    assert client.get(TENANTS, headers=operator).json == {"items": [], "more": False}
    client.post("/api/v1/pauses", json={"tenant": "paused"}, headers=operator)
    waiting = [submit("paused"), submit("paused", model="limner-gan"), submit("paused", priority="low")]
    start(app, submit("busy"))
    submit("later", not_before=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    client.post(f"{JOBS}/{submit('idle')}/cancel", headers=keys["idle"])
    submit("acme")
    assert listed() == [("paused", 3, 0), ("acme", 1, 0), ("busy", 0, 1)]
    monkeypatch.setattr(fleet, "COUNTED_OF_TENANT", 2)
    monkeypatch.setattr(fleet, "MAX_TENANTS", 2)
    answer = client.get(TENANTS, headers=operator)
    assert answer.json["more"]
    assert len(answer.json["items"]) == 2
    assert "a secret" not in answer.text
    client.post(f"{JOBS}/{waiting[0]}/cancel", headers=keys["paused"])
    monkeypatch.undo()
    assert listed()[0] == ("paused", 2, 0)


@both_databases
def test_a_worker_shows_its_rate_once_enough_of_its_jobs_are_finished(client: ApiClient, app: App, worker: Any):
    def rates() -> list[Any]:
        return [each["rate"] for each in client.get(WORKERS).json["items"]]

    def draw(owner: str, count: int) -> None:
        for _ in range(count):
            claim = start(app, client.post(JOBS, json={"prompt": "x"}).json["id"], owner)
            finish(app, claim, png("red"))

    draw("another worker", 5)
    draw(worker.owner, 4)
    assert rates() == [None]
    draw(worker.owner, 1)
    [rate] = rates()
    assert rate["jobs"] == 5
    assert rate["jobs_per_minute"] > 0


def test_queues_and_workers_are_the_operators_alone(make_app: Callable[..., App], database: Database):
    client = make_app(require_keys=True).test_client()
    for headers, status, code in (
        (make_key(database, "local"), 403, "admin_scope_required"),
        (make_key(database, "acme", "admin"), 403, "operator_required"),
        (make_key(database, "local", "admin"), 200, None),
    ):
        for path in (QUEUES, TENANTS, WORKERS):
            answer = client.get(path, headers=headers)
            assert (answer.status_code, answer.json.get("code")) == (status, code)
