"""A job whose stored request is damaged is shown and does not affect other jobs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import update

from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.db.tables import Job, Tenant
from limner_shared.errors import WorkerLost
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_retention import run_retention

both_databases = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
damaged_values = pytest.mark.parametrize(
    "stored", [{}, [], 7, "text", {"prompt": 3}, {"version": 1, "prompt": "a", "n": []}]
)


def damage(database: Database, job_id: str, stored: Any) -> None:
    with database.write() as session:
        session.execute(update(Job).where(Job.id == job_id).values(spec=stored))


def submit(client: ApiClient, prompt: str = "a cat") -> dict[str, Any]:
    return client.post("/api/v1/jobs", json={"prompt": prompt}).json


@both_databases
@damaged_values
def test_lists_and_bulk_results_show_a_damaged_job_and_the_others(
    client: ApiClient, app: App, database: Database, stored: Any
):
    body = '{"prompt": "a cat"}\n{"prompt": "a dog"}\n'
    bulk = client.post("/api/v1/bulks", data=body, headers={"Content-Type": "application/x-ndjson"}).json
    cat, dog = client.get(f"/api/v1/jobs?bulk={bulk['id']}").json["items"][::-1]
    for job in (cat, dog):
        finish(app, start(app, job["id"]), png("red"))
    damage(database, cat["id"], stored)
    shown = {job["id"]: job for job in client.get("/api/v1/jobs").json["items"]}
    assert (shown[cat["id"]]["prompt"], shown[cat["id"]]["status"]) == ("", "succeeded")
    assert shown[cat["id"]]["model"] == cat["model"]
    assert shown[dog["id"]]["prompt"] == "a dog"
    results = client.get(f"/api/v1/bulks/{bulk['id']}/results").text.splitlines()
    assert {json.loads(line)["id"] for line in results} == {cat["id"], dog["id"]}


@damaged_values
def test_a_damaged_job_cannot_be_replayed(client: ApiClient, app: App, database: Database, stored: Any):
    job = submit(client)
    finish(app, start(app, job["id"]), png("red"))
    damage(database, job["id"], stored)
    answer = client.post(f"/api/v1/jobs/{job['id']}/replay")
    assert (answer.status_code, answer.json["code"]) == (409, "invalid_state")


def test_a_job_whose_prompt_retention_deleted_cannot_be_replayed(client: ApiClient, app: App, database: Database):
    job = submit(client)
    finish(app, start(app, job["id"]), png("red"))
    with database.write() as session:
        session.execute(update(Tenant).values(keep_prompts_days=0))
    run_retention(app)
    answer = client.post(f"/api/v1/jobs/{job['id']}/replay")
    assert (answer.status_code, answer.json["code"]) == (409, "invalid_state")


@both_databases
def test_retrying_dead_letters_skips_damaged_ones(client: ApiClient, app: App, database: Database):
    request = {"prompt": "a cat", "max_retries": 0}
    ids = [client.post("/api/v1/jobs", json=request).json["id"] for _ in range(2)]
    for job_id in ids:
        claim = start(app, job_id)
        with database.write() as session:
            assert ledger.fail(session, ledger.Result(job_id, claim.attempt, error=WorkerLost()))
    damage(database, ids[0], [])
    answer = client.post("/api/v1/jobs/retry", json={})
    assert answer.status_code in (200, 202), answer.json
    retried = client.get("/api/v1/jobs?status=queued").json["items"]
    assert [job["retry_of"] for job in retried] == [ids[1]]


@both_databases
@damaged_values
def test_retention_also_deletes_the_prompts_of_damaged_jobs(
    client: ApiClient, app: App, database: Database, stored: Any
):
    damaged, healthy = submit(client), submit(client)
    for job in (damaged, healthy):
        finish(app, start(app, job["id"]), png("red"))
    damage(database, damaged["id"], stored)
    with database.write() as session:
        session.execute(update(Tenant).values(keep_prompts_days=0))
    run_retention(app)
    assert client.get(f"/api/v1/jobs/{healthy['id']}").json["prompt"] == ""
    assert client.get(f"/api/v1/jobs/{damaged['id']}").json["prompt"] == ""
