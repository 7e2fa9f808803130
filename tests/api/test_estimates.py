"""What a job would cost and how long it would take is told before it is submitted."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select, update

from limner_shared.db.accounts import tenants
from limner_shared.db.engine import Database
from limner_shared.db.tables import Job
from limner_shared.domain.estimates import FinishedRun, alike
from limner_shared.messaging.reports import WorkerReport, delete_report, write_report
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_keys import make_key
from tests.api.test_retention import both_databases

ESTIMATE = "/api/v1/estimate"


@pytest.fixture
def worker(app: App):
    redis = app.extensions["limner"].hints.redis
    report = WorkerReport(owner="a worker", models=["limner-flow"], device="cpu", held=0, closed=[], stalled=[])
    write_report(redis, report)
    yield report
    delete_report(redis, WorkerReport, report.owner)


def submit(client: ApiClient, **fields: Any) -> dict[str, Any]:
    return client.post("/api/v1/jobs", json={"prompt": "a cat"} | fields).json


def test_a_job_that_waited_between_two_attempts_does_not_lengthen_the_estimate(
    client: ApiClient, app: App, database: Database, worker: WorkerReport
):
    done = [submit(client)["id"] for _ in range(6)]
    for job_id in done:
        finish(app, start(app, job_id), png("red"))
    with database.write() as session:
        session.execute(update(Job).values(started_at=Job.finished_at - 2))
        again = {"started_at": Job.finished_at - 3600, "attempt": 2}
        session.execute(update(Job).where(Job.id == done[0]).values(again))
    estimate = client.get(ESTIMATE).json
    assert (estimate["alike"], estimate["eta"]["median_seconds"]) == (5, pytest.approx(2, abs=0.1))


@both_databases
def test_the_time_is_that_of_jobs_of_about_the_same_cost(
    client: ApiClient, app: App, database: Database, worker: WorkerReport
):
    before = client.get(ESTIMATE).json
    assert (before["eta"], before["alike"], before["ahead"], before["workers"]) == (None, 0, 0, 1)
    for n, seconds in ((1, 2), (16, 20)):
        done = [submit(client, n=n)["id"] for _ in range(5)]
        for job_id in done:
            finish(app, start(app, job_id), *[png("red")] * n)
        with database.write() as session:
            session.execute(update(Job).where(Job.id.in_(done)).values(started_at=Job.finished_at - seconds))
    small, large = (client.get(f"{ESTIMATE}?n={n}").json for n in (1, 16))
    assert large["cost"] == 16 * small["cost"]
    assert (small["alike"], small["eta"]["median_seconds"]) == (5, pytest.approx(2, abs=0.1))
    assert (large["alike"], large["eta"]["median_seconds"]) == (5, pytest.approx(20, abs=0.1))
    submit(client)
    behind = client.get(f"{ESTIMATE}?n=16").json
    assert behind["ahead"] == 1
    assert behind["eta"]["median_seconds"] > 20
    client.post("/api/v1/pauses", json={"model": "limner-flow", "reason": "new weights"})
    held = client.get(ESTIMATE).json
    assert (held["eta"], held["paused"]["reason"]) == (None, "new weights")


def test_an_estimate_is_what_the_job_then_costs_and_stores_nothing(client: ApiClient, database: Database):
    fields = {"n": 3, "steps": 12, "width": 256, "height": 256}
    told = client.get(f"{ESTIMATE}?" + "&".join(f"{name}={value}" for name, value in fields.items())).json
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Job)) == 0
    submit(client, **fields)
    with database.read() as session:
        assert session.scalar(select(Job.cost)) == told["cost"]


def test_what_is_left_today_is_told_where_there_is_a_daily_limit(client: ApiClient, database: Database):
    assert client.get(ESTIMATE).json["cost_left"] is None
    headers = make_key(database, "ours")
    with database.write() as session:
        tenants.change_tenant(session, "ours", {"cost_per_day": 1000})
    cost = client.get(ESTIMATE, headers=headers).json["cost"]
    client.post("/api/v1/jobs", json={"prompt": "a cat"}, headers=headers)
    assert client.get(ESTIMATE, headers=headers).json["cost_left"] == 1000 - cost


@pytest.mark.parametrize("query", ["n=0", "n=999", "steps=-1", "width=1", "model=nothing", "prompt=x", "n=%00"])
def test_a_job_that_would_be_refused_has_no_estimate(client: ApiClient, query: str):
    answer = client.get(f"{ESTIMATE}?{query}")
    assert answer.status_code == 422
    assert answer.json["code"] == "invalid_request"


def test_a_bulk_takes_as_long_as_its_cost_units_at_the_measured_rate(
    client: ApiClient, app: App, database: Database, worker: WorkerReport
):
    kinds = [{"n": 2, "count": 50}, {"n": 1, "steps": 16}]
    one = client.get(ESTIMATE).json["cost"]
    before = client.post(ESTIMATE, json={"jobs": kinds}).json
    assert (before["jobs"], before["cost"], before["eta"], before["workers"]) == (51, 102 * one, None, 1)
    done = [submit(client)["id"] for _ in range(5)]
    for job_id in done:
        finish(app, start(app, job_id), png("red"))
    with database.write() as session:
        last = session.scalar(select(func.max(Job.finished_at)))
        session.execute(update(Job).where(Job.id.in_(done)).values(started_at=last - 10, finished_at=last))
    seconds = client.post(ESTIMATE, json={"jobs": kinds}).json["eta"]["median_seconds"]
    assert seconds == pytest.approx(102 * 10 / 5)
    client.post("/api/v1/pauses", json={"model": "limner-flow", "reason": "new weights"})
    held = client.post(ESTIMATE, json={"jobs": kinds}).json
    assert (held["eta"], held["paused"]["reason"]) == (None, "new weights")


EMPTY: dict[str, Any] = {}


@pytest.mark.parametrize("jobs", [[], [{"count": 0}], [{"n": 99}], [{"model": "x"}], [{"prompt": "x"}], [EMPTY] * 1001])
def test_a_bulk_that_would_be_refused_has_no_estimate(client: ApiClient, jobs: list[dict[str, Any]]):
    answer = client.post(ESTIMATE, json={"jobs": jobs})
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_request")


def test_jobs_are_alike_up_to_twice_the_cost():
    runs = [FinishedRun(0, 1, cost) for cost in (49, 50, 100, 200, 201)]
    assert [run.cost for run in alike(runs, 100)] == [50, 100, 200]
