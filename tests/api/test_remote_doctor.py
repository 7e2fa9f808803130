"""`limner doctor --server`: what it finds out about a service over HTTP, with and without keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest
from click.testing import CliRunner

from limner_client.cli.main import cli
from limner_client.local.embedded_valkey import free_port
from limner_client.local.findings import State
from limner_client.operations.remote_doctor import examine
from limner_shared.db.engine import Database
from limner_shared.messaging.reports import DispatcherReport, WorkerReport, delete_report, write_report
from tests.api.clients import App
from tests.api.test_keys import make_key

MODEL = "limner-flow"
Found = dict[str, tuple[State, str, str]]


def look(app: App, key: str = "", metrics_key: str = "") -> Found:
    transport = httpx.WSGITransport(app=app)
    with httpx.Client(transport=transport, base_url="http://127.0.0.1") as http:
        return {check.name: (check.state, check.found, check.advice) for check in examine(http, key, metrics_key)}


@pytest.fixture
def processes(app: App) -> Iterator[WorkerReport]:
    redis = app.extensions["limner"].hints.redis
    worker = WorkerReport(owner="gpu:7:0123abcd", models=[MODEL], device="cuda", held=2, closed=[], stalled=[])
    dispatcher = DispatcherReport(
        owner="d", leads=["dispatch"], finished={}, failures={}, set_aside=[], set_aside_count=0, threads={}
    )
    write_report(redis, worker)
    write_report(redis, dispatcher)
    yield worker
    for report in (worker, dispatcher):
        delete_report(redis, type(report), report.owner)


def test_a_healthy_service_has_no_finding(app: App, processes: WorkerReport) -> None:
    found = look(app)
    assert {state for state, _, _ in found.values()} == {State.OK}, found
    assert found[f"worker {processes.owner}"][1] == f"{MODEL} on cuda; 2 jobs"
    assert found["dispatcher"][1] == "1 running; they lead dispatch"


def test_each_trouble_of_a_service_is_named_with_advice(app: App, processes: WorkerReport) -> None:
    client, redis = app.test_client(), app.extensions["limner"].hints.redis
    write_report(redis, processes.model_copy(update={"draining": True}))
    client.post("/api/v1/jobs", json={"prompt": "a secret"})
    client.post("/api/v1/pauses", json={"model": "limner-gan"})
    found = look(app)
    assert found[f"worker {processes.owner}"][0] is State.WARN
    assert (found[f"queue {MODEL}"][0], "no worker serves it" in found[f"queue {MODEL}"][1]) == (State.FAIL, True)
    assert found["queue limner-gan"][1].startswith("paused")
    assert found["pauses"][1] == "paused: limner-gan"
    assert all(advice for state, _, advice in found.values() if state is not State.OK)
    assert "a secret" not in str(found)


def test_without_the_operators_key_the_summary_is_shown_and_the_key_is_named(
    make_app: Callable[..., App], database: Database, processes: WorkerReport
) -> None:
    app = make_app(require_keys=True, metrics_key="m" * 20)
    for key in ("", make_key(database, "acme", "admin")["Authorization"].removeprefix("Bearer ")):
        found = look(app, key)
        assert found["workers"][:2] == (State.OK, "1 running; 2 jobs")
        assert (found["key"][0], "--key" in found["key"][2]) == (State.WARN, True)
        assert found["metrics"][0] is State.WARN
    operator = make_key(database, "local", "admin")["Authorization"].removeprefix("Bearer ")
    found = look(app, operator, "m" * 20)
    assert "key" not in found
    assert found["metrics"][0] is State.OK
    assert f"worker {processes.owner}" in found


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(200, text="<html>"), "not a Limner"),
        (httpx.Response(502, text="bad gateway"), "502"),
        (httpx.Response(200, json=[1]), "not a Limner"),
        (httpx.Response(503, json={"database": "away", "redis": "away"}), ""),
    ],
)
def test_another_server_and_one_without_its_stores_are_told_apart(answer: httpx.Response, words: str) -> None:
    with httpx.Client(transport=httpx.MockTransport(lambda _: answer), base_url="http://limner.test") as http:
        found = {check.name: check for check in examine(http, "", "")}
    failed = {name for name, check in found.items() if check.state is State.FAIL}
    assert failed == ({"server"} if words else {"database", "redis"})
    assert words in found["server"].found


def test_a_server_that_is_away_is_one_line_and_exit_code_1() -> None:
    shown = CliRunner().invoke(cli, ["doctor", "--server", f"127.0.0.1:{free_port()}"])
    assert shown.exit_code == 1
    assert "does not answer" in shown.output
    assert "Traceback" not in shown.output
    assert CliRunner().invoke(cli, ["doctor", "--server", "http://a:b:c"]).exit_code == 2
