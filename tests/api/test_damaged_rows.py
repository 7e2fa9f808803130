"""A job whose stored request is damaged: it is shown, and its neighbours are not affected."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import update

from limner_shared.db import ledger
from limner_shared.db.tables import Job, Tenant
from limner_shared.errors import WorkerLost
from tests.api.test_forgetting import clean
from tests.api.work import finish, png, start

both = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
damages = pytest.mark.parametrize("stored", [{}, [], 7, "text", {"prompt": 3}, {"version": 1, "prompt": "a", "n": []}])


def damage(database, job_id: str, stored: Any) -> None:
    with database.write() as session:
        session.execute(update(Job).where(Job.id == job_id).values(spec=stored))


def submit(client, prompt: str = "a cat") -> dict[str, Any]:
    return client.post("/api/v1/jobs", json={"prompt": prompt}).json


@both
@damages
def test_lists_and_bulk_results_show_a_damaged_job_beside_the_others(client, app, database, stored):
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


@damages
def test_a_damaged_job_cannot_be_replayed(client, app, database, stored):
    job = submit(client)
    finish(app, start(app, job["id"]), png("red"))
    damage(database, job["id"], stored)
    answer = client.post(f"/api/v1/jobs/{job['id']}/replay")
    assert (answer.status_code, answer.json["code"]) == (409, "invalid_state")


def test_a_job_whose_prompt_retention_deleted_cannot_be_replayed(client, app, database):
    job = submit(client)
    finish(app, start(app, job["id"]), png("red"))
    with database.write() as session:
        session.execute(update(Tenant).values(keep_prompts_days=0))
    clean(app)
    answer = client.post(f"/api/v1/jobs/{job['id']}/replay")
    assert (answer.status_code, answer.json["code"]) == (409, "invalid_state")


@both
def test_dead_jobs_are_retried_without_the_damaged_one(client, app, database):
    ids = [submit(client)["id"] for _ in range(2)]
    for job_id in ids:
        claim = start(app, job_id)
        with database.write() as session:
            assert ledger.fail(session, ledger.Result(job_id, claim.attempt, error=WorkerLost()))
    damage(database, ids[0], [])
    answer = client.post("/api/v1/jobs/retry", json={})
    assert answer.status_code in (200, 202), answer.json
    retried = client.get("/api/v1/jobs?state=queued").json["items"]
    assert [job["retry_of"] for job in retried] == [ids[1]]


@both
@damages
def test_retention_deletes_the_prompts_of_damaged_jobs_too(client, app, database, stored):
    damaged, healthy = submit(client), submit(client)
    for job in (damaged, healthy):
        finish(app, start(app, job["id"]), png("red"))
    damage(database, damaged["id"], stored)
    with database.write() as session:
        session.execute(update(Tenant).values(keep_prompts_days=0))
    clean(app)
    assert client.get(f"/api/v1/jobs/{healthy['id']}").json["prompt"] == ""
    assert client.get(f"/api/v1/jobs/{damaged['id']}").json["prompt"] == ""
