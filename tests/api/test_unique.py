"""Unique jobs over HTTP: a key that one unfinished job of a tenant holds."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from limner_shared.db.engine import Database
from limner_shared.db.tables import Job
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_bulks import both_databases, lines, rows

JOBS, BULKS = "/api/v1/jobs", "/api/v1/bulks"
COVER = {"prompt": "a cover", "unique": {"key": "article 17"}}


def post_bulk(client: ApiClient, *requests: Any):
    return client.post(BULKS, data=lines(*requests), content_type="application/jsonl")


@both_databases
def test_a_second_submission_is_answered_with_the_job_that_holds_the_key_until_that_ends(client: ApiClient, app: App):
    first = client.post(JOBS, json=COVER)
    assert (first.status_code, first.json["existing"]) == (202, False)
    second = client.post(JOBS, json=COVER | {"prompt": "another cover"})
    assert (second.status_code, second.json["existing"]) == (200, True)
    assert (second.json["id"], second.json["prompt"]) == (first.json["id"], "a cover")
    assert second.headers["Location"].endswith(first.json["id"])
    assert client.get(first.json["links"]["self"]).json["existing"] is False
    finish(app, start(app, first.json["id"]), png("red"))
    third = client.post(JOBS, json=COVER)
    assert (third.status_code, third.json["id"] != first.json["id"]) == (202, True)
    assert rows(app, Job) == 2


@both_databases
def test_concurrent_submissions_make_one_job(app: App):
    def ask(_: int) -> tuple[int, str]:
        answer = app.test_client().post(JOBS, json=COVER)
        return answer.status_code, answer.json["id"]

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(12)))
    assert sorted(status for status, _ in answers) == [200] * 11 + [202]
    assert len({job for _, job in answers}) == rows(app, Job) == 1


@both_databases
def test_lines_of_a_bulk_whose_keys_are_held_make_no_job_and_are_listed(client: ApiClient, app: App):
    held = client.post(JOBS, json=COVER).json["id"]
    other = {"prompt": "x", "unique": {"key": "other"}}
    bulk = post_bulk(client, {"prompt": "1"}, COVER, other, other, {"prompt": "5"}).json
    assert (bulk["total"], bulk["duplicates"]["count"]) == (3, 2)
    assert sum(bulk["counts"].values()) == 3
    assert bulk["duplicates"]["lines"][0] == {"line": 2, "job": held}
    assert rows(app, Job) == 4
    again = post_bulk(client, COVER, COVER).json
    assert (again["total"], again["status"], again["duplicates"]["count"]) == (0, "done", 2)


def test_a_duplicate_is_not_charged(make_app: Callable[..., App], database: Database):
    app = make_app()
    client = app.test_client()
    client.post(JOBS, json=COVER)
    database.engine.dispose()
    with database.write() as session:
        session.connection().exec_driver_sql("UPDATE tenants SET max_queued = 1")
    assert client.post(JOBS, json=COVER).status_code == 200
    assert client.post(JOBS, json={"prompt": "x"}).status_code == 429
    assert post_bulk(client, COVER).status_code == 202


def test_an_idempotency_key_keeps_its_answer_after_the_unique_job_has_ended(client: ApiClient, app: App):
    first = client.post(JOBS, json=COVER).json["id"]
    key = {"Idempotency-Key": "mine"}
    assert client.post(JOBS, json=COVER, headers=key).json["id"] == first
    finish(app, start(app, first), png("red"))
    assert client.post(JOBS, json=COVER, headers=key).json["id"] == first
    assert client.post(JOBS, json=COVER).json["id"] != first


@pytest.mark.parametrize(
    "unique",
    [
        {},
        "article 17",
        {"key": ""},
        {"key": "x" * 256},
        {"key": "a\x00b"},
        {"key": "k", "scope": "service"},
        {"key": "k", "seconds": 0},
        {"key": "k", "seconds": 1e9},
        {"key": "k", "more": 1},
    ],
)
def test_an_invalid_key_is_refused(client: ApiClient, app: App, unique: dict[str, Any] | str):
    request = {"prompt": "x", "unique": unique}
    assert client.post(JOBS, json=request).status_code == 422
    assert post_bulk(client, request).status_code == 422
    assert rows(app, Job) == 0
