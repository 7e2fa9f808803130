"""Clients that send a retry count, and jobs that expire."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update

from limner_shared.db.engine import Database
from limner_shared.db.tables import IdempotencyKey, Job
from tests.api.clients import ApiClient, App
from tests.api.test_bulks import both_databases, rows

URL = "/api/v1/jobs"


def ask(client: ApiClient, count: int | None, prompt: str = "x") -> str:
    headers = {} if count is None else {"X-Stainless-Retry-Count": str(count)}
    return client.post(URL, json={"prompt": prompt}, headers=headers).json["id"]


def test_a_retry_returns_the_job_of_its_first_attempt(client: ApiClient, app: App):
    first = ask(client, 0)
    assert ask(client, 1) == ask(client, 2) == first
    assert rows(app, Job) == 1


def test_an_equal_first_attempt_creates_a_new_job_that_later_retries_return(client: ApiClient):
    first, second = ask(client, 0), ask(client, 0)
    assert first != second
    assert ask(client, 1) == second


def test_a_retry_that_matches_no_recent_request_creates_a_new_job(client: ApiClient, database: Database):
    first = ask(client, 0)
    assert ask(client, 1, "another") != first
    with database.write() as session:
        session.execute(update(IdempotencyKey).values(created_at=IdempotencyKey.created_at - 600))
    assert ask(client, 1) != first


def ask_concurrently(app: App, counts: list[int], prompt: str = "x") -> list[str]:
    """Send requests with these retry counts at the same time and return the ids of their jobs."""

    def send(count: int) -> str:
        return ask(app.test_client(), count, prompt)

    with ThreadPoolExecutor(12) as pool:
        return list(pool.map(send, counts))


@both_databases
def test_concurrent_first_attempts_create_one_job_each(app: App):
    def draw(number: int) -> str:
        return ask(app.test_client(), 0, f"prompt {number}")

    for _ in range(5):
        assert len(set(ask_concurrently(app, [0] * 8))) == 8
    with ThreadPoolExecutor(8) as pool:
        made = pool.map(draw, range(8))
        assert len(set(made)) == 8


@pytest.mark.long
@both_databases
def test_fifty_concurrent_retries_return_one_job(app: App):
    for number in range(20):
        assert len(set(ask_concurrently(app, [1, 2] * 25, f"round {number}"))) == 1
    assert rows(app, Job) == 20


@both_databases
def test_a_concurrent_retry_and_first_attempt_return_one_job(app: App):
    for number in range(20):
        order = [0, 1] if number % 2 else [1, 0]
        assert len(set(ask_concurrently(app, order, f"round {number}"))) == 1


def test_a_retry_can_arrive_before_one_first_attempt_and_only_for_a_short_time(client: ApiClient, database: Database):
    retried = ask(client, 1)
    assert ask(client, 0) == retried
    assert ask(client, 0) != retried
    later = ask(client, 1, "another")
    with database.write() as session:
        session.execute(update(IdempotencyKey).values(created_at=IdempotencyKey.created_at - 6))
    assert ask(client, 0, "another") != later


def test_a_job_shows_when_it_expires(client: ApiClient):
    job = client.post(URL, json={"prompt": "x", "expires_in": 60}).json
    assert job["created_at"] < job["expires_at"]
    assert client.post(URL, json={"prompt": "x"}).json["expires_at"] is None


@pytest.mark.parametrize("value", [0, -1, 1e9, "soon"])
def test_an_invalid_expiry_is_refused(client: ApiClient, value: float | str):
    refused = client.post(URL, json={"prompt": "x", "expires_in": value})
    assert (refused.status_code, refused.json["code"]) == (422, "invalid_request")
