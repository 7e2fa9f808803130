"""Clients that count their retries, and jobs that are wanted for a while only."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from limner_shared.tables import IdempotencyKey, Job
from tests.api.test_bulks import rows

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


def test_a_job_says_until_when_it_is_wanted(client):
    job = client.post(URL, json={"prompt": "x", "expires_in": 60}).json
    assert job["created_at"] < job["expires_at"]
    assert client.post(URL, json={"prompt": "x"}).json["expires_at"] is None


@pytest.mark.parametrize("value", [0, -1, 1e9, "soon"])
def test_a_wrong_time_is_refused(client, value):
    refused = client.post(URL, json={"prompt": "x", "expires_in": value})
    assert (refused.status_code, refused.json["code"]) == (422, "invalid_request")
