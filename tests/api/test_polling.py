"""Clients poll many jobs at once, and ask why a job waits or whether it has ended."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bench.statements import recorded
from sqlalchemy import ColumnElement, update
from sqlalchemy.orm import Session

from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.db.tables import Job, Tenant
from limner_shared.domain.estimates import FinishedRun, measure, seconds_left
from limner_shared.messaging.reports import DispatcherReport, WorkerReport, delete_report, write_report
from limner_web.a1111 import current_jobs
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_retention import both_databases


def submit(client: ApiClient, **request: Any) -> str:
    answer = client.post("/api/v1/jobs", json={"prompt": "a cat"} | request)
    assert answer.status_code == 202, answer.json
    return answer.json["id"]


@both_databases
def test_many_jobs_are_read_in_the_order_of_their_ids(client: ApiClient, database: Database):
    one, two, three = (submit(client) for _ in range(3))
    with database.write() as session:
        ledger.ensure_tenant(session, "tenant_other", "other")
        session.execute(update(Job).where(Job.id == two).values(tenant_id="tenant_other"))
    answer = client.get(f"/api/v1/jobs?ids={three},{two},job_none,{one},{one}")
    assert [job["id"] for job in answer.json["items"]] == [three, one]
    assert answer.json["next"] is None
    assert client.get(f"/api/v1/jobs?ids={two}&wait=9").json["items"] == []


@both_databases
def test_the_answer_to_a_new_job_is_what_a_poll_of_it_shows(client: ApiClient, make_app: Callable[..., App]):
    def answered(**request: Any) -> dict[str, Any]:
        answer = window.post("/api/v1/jobs", json={"prompt": "a cat"} | request)
        polled = client.get(answer.json["links"]["self"])
        assert answer.json == polled.json
        assert answer.headers["ETag"] == polled.headers["ETag"]
        return answer.json

    window = make_app(release_window=2).test_client()
    options = {"n": 2, "seed": 5, "metadata": {"a": 1.5}, "priority": "low", "expires_in": 900, "max_retries": 1}
    assert answered(**options)["position"] == 0
    assert [answered()["position"] for _ in range(3)] == [0, 1, 3], "the last one waits for its release"
    assert answered(not_before=(datetime.now(UTC) + timedelta(days=1)).isoformat())["position"] is None
    client.post("/api/v1/pauses", json={"model": "limner-flow", "reason": "new disks"})
    assert answered()["paused"]["reason"] == "new disks"


@both_databases
def test_a_new_job_that_is_released_at_once_takes_one_read(client: ApiClient, app: App):
    submit(client)
    with recorded(app.extensions["limner"].database) as statements:
        submit(client)
    assert len(statements) == 1, list(statements)


def test_a_poll_of_too_many_or_malformed_ids_or_with_filters_is_refused(client: ApiClient):
    many = ",".join(f"job_{n}" for n in range(101))
    for query in ("ids=", "ids=,", "ids=x", f"ids={many}", "ids=job_1,", "ids=job_1&state=queued", "ids=job_1&wait=26"):
        answer = client.get(f"/api/v1/jobs?{query}")
        assert (answer.status_code, answer.json["code"]) == (422, "invalid_request"), query


@both_databases
def test_a_waiting_poll_ends_when_any_of_its_jobs_ends(client: ApiClient, app: App):
    ids = [submit(client) for _ in range(3)]
    answers: list[dict[str, Any]] = []

    def poll() -> None:
        answers.append(app.test_client().get(f"/api/v1/jobs?ids={','.join(ids)}&wait=25").json)

    waiting = threading.Thread(target=poll)
    waiting.start()
    finish(app, start(app, ids[1]), png("red"))
    waiting.join(20)
    assert not waiting.is_alive()
    assert [job["status"] for job in answers[0]["items"]] == ["queued", "succeeded", "queued"]
    again = client.get(f"/api/v1/jobs?ids={','.join(ids)}&wait=25").json
    assert len(again["items"]) == 3, "a job that has ended is reported at once"


@both_databases
def test_a_poll_of_unchanged_jobs_is_answered_without_them(client: ApiClient, app: App):
    ids = [submit(client) for _ in range(3)]
    url = f"/api/v1/jobs?ids={','.join(ids)}"

    def poll(tag: str, more: str = "") -> Any:
        return client.get(url + more, headers={"If-None-Match": tag})

    first = client.get(url)
    unchanged = poll(first.headers["ETag"])
    assert (unchanged.status_code, unchanged.data, unchanged.headers["ETag"]) == (304, b"", first.headers["ETag"])
    claim = start(app, ids[1])
    running = poll(first.headers["ETag"])
    assert [job["status"] for job in running.json["items"]] == ["queued", "running", "queued"]
    finish(app, claim, png("red"))
    ended = poll(running.headers["ETag"], "&wait=9")
    assert (ended.status_code, ended.json["items"][1]["status"]) == (200, "succeeded")
    assert client.get(f"{url}&wait=9", headers={"If-None-Match": ended.headers["ETag"]}).status_code == 304
    fewer = client.get(f"/api/v1/jobs?ids={ids[1]}", headers={"If-None-Match": ended.headers["ETag"]})
    assert fewer.status_code == 200, "other jobs have another tag"


@pytest.fixture
def processes(app: App):
    redis = app.extensions["limner"].hints.redis
    dispatcher = DispatcherReport(
        owner="a", leads=[], finished={}, failures={}, set_aside=[], set_aside_count=0, threads={}
    )
    worker = WorkerReport(owner="b", models=["limner-flow"], device="cpu", held=0, closed=[], stalled=[])
    for report in (dispatcher, worker):
        write_report(redis, report)
    yield redis
    delete_report(redis, DispatcherReport, "a")
    delete_report(redis, WorkerReport, "b")


@both_databases
def test_an_explanation_says_what_a_job_waits_for(client: ApiClient, app: App, database: Database, processes: Any):
    def why(job_id: str) -> dict[str, Any]:
        answer = client.get(f"/api/v1/jobs/{job_id}/explain")
        assert answer.status_code == 200, answer.text
        return answer.json

    assert client.get("/api/v1/jobs/job_none/explain").status_code == 404
    first, second = submit(client), submit(client)
    assert why(first)["message"].startswith("It is the next one")
    told = why(second)
    assert (told["reason"], told["ahead"], told["workers"], told["eta"]) == ("queued", 1, 1, None)
    assert told["message"].startswith("1 job is ahead of it.")
    later = submit(client, not_before="2026-12-24T18:00:00Z")
    assert why(later)["reason"] == "scheduled"
    lines = '{"prompt": "a"}\n'
    bulk = client.post("/api/v1/bulks", data=lines, content_type="application/jsonl").json
    client.post(bulk["links"]["pause"])
    [paused] = client.get(f"/api/v1/jobs?bulk={bulk['id']}").json["items"]
    assert (why(paused["id"])["reason"], why(paused["id"])["lane"]) == ("paused", "low")
    client.post(bulk["links"]["resume"])
    with database.write() as session:
        session.execute(update(Tenant).values(max_running=0))
    assert why(paused["id"])["reason"] == "limited"
    with database.write() as session:
        session.execute(update(Tenant).values(max_running=None))
    delete_report(processes, DispatcherReport, "a")
    assert why(paused["id"])["reason"] == "no_dispatcher"
    delete_report(processes, WorkerReport, "b")
    assert (why(second)["reason"], why(second)["workers"]) == ("no_worker", 0)
    claim = start(app, first)
    assert why(first)["reason"] == "running"
    finish(app, claim, png("red"))
    assert (why(first)["reason"], why(first)["message"]) == ("ended", "It has succeeded.")
    client.post(f"/api/v1/jobs/{second}/cancel")
    assert (why(second)["reason"], why(second)["message"]) == ("ended", "It has been canceled.")


@both_databases
def test_an_estimate_comes_from_the_jobs_that_were_finished_last(
    client: ApiClient, app: App, database: Database, processes: Any
):
    done = [submit(client) for _ in range(6)]
    for job_id in done:
        finish(app, start(app, job_id), png("red"))
    with database.write() as session:
        session.execute(update(Job).values(started_at=Job.finished_at - 3))
    waiting = [submit(client) for _ in range(3)]
    told = client.get(f"/api/v1/jobs/{waiting[2]}/explain").json
    assert told["rate"]["jobs"] == 6
    assert told["rate"]["median_seconds"] == pytest.approx(3, abs=0.01)
    assert told["ahead"] == 2
    expected = 2 / (told["rate"]["jobs_per_minute"] / 60) + 3
    assert told["eta"]["median_seconds"] == pytest.approx(expected, rel=0.05)
    assert told["eta"]["p90_seconds"] > told["eta"]["median_seconds"]
    current_jobs.remember(processes, "tenant_local:", waiting[2])
    assert client.get("/sdapi/v1/progress").json["eta_relative"] == told["eta"]["median_seconds"]


def test_a_rate_counts_only_the_time_in_which_jobs_ran():
    assert measure([FinishedRun(0, 1, 8)] * 4) is None
    one_by_one = measure([FinishedRun(n * 100.0, n * 100.0 + 2, 8) for n in range(10)])
    assert one_by_one is not None
    assert (one_by_one.per_second, one_by_one.median_seconds) == (0.5, 2)
    together = measure([FinishedRun(0.0, 2.0, 8)] * 10)
    assert together is not None
    assert together.per_second == 5
    assert seconds_left(together, 10)[0] == 4
    assert seconds_left(together, 0, elapsed=1.5)[0] == 0.5
    assert seconds_left(together, 0, elapsed=9)[0] == 0


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_job_that_ends_during_its_cancellation_is_said_to_have_ended(
    client: ApiClient, app: App, monkeypatch: pytest.MonkeyPatch
):
    job = client.post("/api/v1/jobs", json={"prompt": "x"}).json
    claim, cancel = start(app, job["id"]), ledger.cancel

    def overtaken(session: Session, condition: ColumnElement[bool]) -> list[ledger.Change]:
        finish(app, claim, png("red"))
        return cancel(session, condition)

    monkeypatch.setattr(ledger, "cancel", overtaken)
    refused = client.post(job["links"]["cancel"])
    assert (refused.status_code, refused.json["state"]) == (409, "succeeded")
