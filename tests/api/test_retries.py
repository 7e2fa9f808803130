"""Clients that count their retries, and jobs that are wanted for a while only."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from apiflask import APIFlask
from sqlalchemy import update

from limner_shared.db.tables import IdempotencyKey, Job
from tests.api.test_bulks import both, rows

URL = "/api/v1/jobs"


def ask(client, count: int | None, prompt: str = "x") -> str:
    headers = {} if count is None else {"X-Stainless-Retry-Count": str(count)}
    return client.post(URL, json={"prompt": prompt}, headers=headers).json["id"]


def test_a_counted_retry_gets_the_job_of_its_first_try(client, app):
    first = ask(client, 0)
    assert ask(client, 1) == ask(client, 2) == first
    assert rows(app, Job) == 1


def test_the_same_request_as_a_first_try_is_a_new_job_and_what_later_retries_mean(client):
    first, second = ask(client, 0), ask(client, 0)
    assert first != second
    assert ask(client, 1) == second


def test_a_retry_of_another_request_or_after_a_long_time_is_a_new_job(client, database):
    first = ask(client, 0)
    assert ask(client, 1, "another") != first
    with database.write() as session:
        session.execute(update(IdempotencyKey).values(created_at=IdempotencyKey.created_at - 600))
    assert ask(client, 1) != first


def at_once(app: APIFlask, counts: list[int], prompt: str = "x") -> list[str]:
    """The jobs that are answered to requests with these counts, sent at the same time."""
    with ThreadPoolExecutor(12) as pool:
        return list(pool.map(lambda count: ask(app.test_client(), count, prompt), counts))


@both
def test_first_tries_that_come_at_once_are_each_a_job_whether_equal_or_not(app):
    for _ in range(5):
        assert len(set(at_once(app, [0] * 8))) == 8
    with ThreadPoolExecutor(8) as pool:
        made = pool.map(lambda number: ask(app.test_client(), 0, f"prompt {number}"), range(8))
        assert len(set(made)) == 8


@both
def test_fifty_retries_that_come_at_once_are_one_job_in_every_round(app):
    for number in range(20):
        assert len(set(at_once(app, [1, 2] * 25, f"round {number}"))) == 1
    assert rows(app, Job) == 20


@both
def test_a_retry_and_its_first_try_that_come_at_once_are_one_job(app):
    for number in range(20):
        order = [0, 1] if number % 2 else [1, 0]
        assert len(set(at_once(app, order, f"round {number}"))) == 1


def test_a_retry_overtakes_one_first_try_and_for_a_moment_only(client, database):
    retried = ask(client, 1)
    assert ask(client, 0) == retried
    assert ask(client, 0) != retried
    later = ask(client, 1, "another")
    with database.write() as session:
        session.execute(update(IdempotencyKey).values(created_at=IdempotencyKey.created_at - 6))
    assert ask(client, 0, "another") != later


def test_a_job_says_until_when_it_is_wanted(client):
    job = client.post(URL, json={"prompt": "x", "expires_in": 60}).json
    assert job["created_at"] < job["expires_at"]
    assert client.post(URL, json={"prompt": "x"}).json["expires_at"] is None


@pytest.mark.parametrize("value", [0, -1, 1e9, "soon"])
def test_a_wrong_time_is_refused(client, value):
    refused = client.post(URL, json={"prompt": "x", "expires_in": value})
    assert (refused.status_code, refused.json["code"]) == (422, "invalid_request")
