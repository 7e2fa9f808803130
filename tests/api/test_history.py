"""The last hour of the service: what waited, what ended and how long it took, minute by minute, for the operator."""

from __future__ import annotations

import time
from typing import Any

import pytest

from limner_shared.db.engine import Database
from limner_shared.db.tables import Job
from limner_shared.domain.estimates import quantile
from limner_shared.messaging import queue_lengths
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_bulks import both_databases
from tests.api.test_keys import make_key

HISTORY = "/api/v1/queues/history"


def ended(client: ApiClient, app: App, took: float, at: float, state: str = "succeeded") -> None:
    """A job that ended at a time, `took` seconds after it was accepted."""
    job = client.post("/api/v1/jobs", json={"prompt": "a secret"}).get_json()["id"]
    finish(app, start(app, job), png("red"))
    with app.extensions["limner"].database.write() as session:
        row = session.get_one(Job, job)
        row.finished_at = at
        row.created_at = row.finished_at - took
        row.state = state


def minutes(client: ApiClient) -> list[dict[str, Any]]:
    answer = client.get(HISTORY)
    assert answer.status_code == 200, answer.json
    assert "a secret" not in answer.text
    return answer.get_json()["items"]


@both_databases
def test_each_minute_says_what_waited_what_ended_and_how_long_it_took(client: ApiClient, app: App) -> None:
    minute = int(time.time()) // 60 - 10
    middle = 60.0 * minute + 30
    for took in (0.4, 0.4, 4.0):
        ended(client, app, took, middle)
    ended(client, app, 1, middle, state="failed")
    ended(client, app, 1, middle - 3600)  # longer ago than an hour
    queue_lengths.record(app.extensions["limner"].hints.redis, minute, 7)
    found = minutes(client)
    assert len(found) == 60
    busy = [minute for minute in found if minute["succeeded"]]
    assert [(each["succeeded"], each["failed"], each["waiting"]) for each in busy] == [(3, 1, 7)]
    assert busy[0]["median_seconds"] <= 0.5
    assert 3 < busy[0]["p90_seconds"] <= 5
    idle = found[0]
    assert (idle["failed"], idle["waiting"], idle["median_seconds"], idle["p90_seconds"]) == (0, None, None, None)


def test_a_damaged_length_of_the_queue_is_unknown(client: ApiClient, app: App) -> None:
    minute = int(time.time()) // 60
    for each in range(minute - 5, minute + 1):
        app.extensions["limner"].hints.redis.set(f"limner:queue_length:{each}", "many")
    assert [each["waiting"] for each in minutes(client)] == [None] * 60


def test_without_redis_only_the_queue_is_unknown(make_app: Any, client: ApiClient, app: App) -> None:
    ended(client, app, 1, time.time() - 60)
    away = make_app(redis_url="redis://127.0.0.1:1/0").test_client()
    found = minutes(away)
    assert sum(each["succeeded"] for each in found) == 1
    assert {each["waiting"] for each in found} == {None}


def test_only_the_operator_sees_it(make_app: Any, database: Database) -> None:
    client = make_app(require_keys=True).test_client()
    for tenant, scope, status in (("ours", "admin", 403), ("local", "read", 403), ("local", "admin", 200)):
        assert client.get(HISTORY, headers=make_key(database, tenant, scope)).status_code == status


@pytest.mark.parametrize(
    ("part", "within", "expected"),
    [(0.5, (0, 10, 10), 1.5), (0.9, (0, 5, 10), 3.6), (0.5, (0, 0, 0), 4.0), (0.5, (10, 10, 10), 0.5)],
)
def test_a_quantile_lies_between_the_bounds_of_its_jobs(part: float, within: tuple[int, ...], expected: float) -> None:
    assert quantile(part, within, (1.0, 2.0, 4.0), 10) == pytest.approx(expected)


def test_without_jobs_there_is_no_quantile() -> None:
    assert quantile(0.5, (0,), (1.0,), 0) is None
