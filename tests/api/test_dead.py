"""Dead letters over HTTP: listed, explained, done again once."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from limner_shared.db.tables import Job
from tests.api.test_bulks import rows


@pytest.fixture
def dead(client, database) -> str:
    """The id of a job that killed every worker."""
    job_id = client.post("/api/v1/jobs", json={"prompt": "poison", "seed": 7}).json["id"]
    client.post("/api/v1/jobs", json={"prompt": "fine"})
    with database.write() as session:
        values = {"state": "failed", "attempt": 4, "error_code": "worker_lost", "error_message": "4 workers were lost"}
        session.execute(update(Job).where(Job.id == job_id).values(values | {"error_retryable": True}))
    return job_id


def test_dead_letters_are_listed_and_explained(client, dead):
    [job] = client.get("/api/v1/jobs?dead=true").json["items"]
    assert (job["id"], job["attempts"]) == (dead, 4)
    assert job["error"] == {"code": "worker_lost", "message": "4 workers were lost", "retryable": True}


@pytest.mark.parametrize("named", [True, False])
def test_a_dead_letter_is_done_again_once_as_a_new_job(client, app, dead, named):
    body = {"jobs": [dead]} if named else {}
    answer = client.post("/api/v1/jobs/retry", json=body)
    assert answer.status_code == 202
    [again] = answer.json["jobs"]
    job = client.get(f"/api/v1/jobs/{again}").json
    assert (job["status"], job["retry_of"], job["prompt"], job["seed"]) == ("queued", dead, "poison", 7)
    assert client.post("/api/v1/jobs/retry", json=body).json["jobs"] == []
    assert client.get(f"/api/v1/jobs/{dead}").json["status"] == "failed"
    assert rows(app, Job) == 3


def test_only_dead_letters_are_done_again(client, app, dead):
    fine = client.get("/api/v1/jobs").json["items"][0]["id"]
    assert client.post("/api/v1/jobs/retry", json={"jobs": [fine, "job_none"]}).json["jobs"] == []
    assert client.post("/api/v1/jobs/retry", json={"jobs": []}).status_code == 422
