"""Dead letters over HTTP: list, error details and retry."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from limner_shared.db.engine import Database
from limner_shared.db.ledger.erasure import Forgotten
from limner_shared.db.tables import Job
from limner_web.api import jobs
from tests.api.clients import ApiClient, App
from tests.api.test_bulks import rows


@pytest.fixture
def dead_letter(client: ApiClient, database: Database) -> str:
    """The id of a job that lost all of its workers."""
    job_id = client.post("/api/v1/jobs", json={"prompt": "poison", "seed": 7}).json["id"]
    client.post("/api/v1/jobs", json={"prompt": "fine"})
    with database.write() as session:
        values = {"state": "failed", "attempt": 4, "error_code": "worker_lost", "error_message": "4 workers were lost"}
        session.execute(update(Job).where(Job.id == job_id).values(values | {"error_retryable": True}))
    return job_id


def test_dead_letters_are_listed_with_their_error(client: ApiClient, dead_letter: str):
    [job] = client.get("/api/v1/jobs?dead=true").json["items"]
    assert (job["id"], job["attempts"]) == (dead_letter, 4)
    assert job["error"] == {"code": "worker_lost", "message": "4 workers were lost", "retryable": True}


@pytest.mark.parametrize("named", [True, False])
def test_a_dead_letter_can_be_retried_once_as_a_new_job(client: ApiClient, app: App, dead_letter: str, named: bool):
    body = {"jobs": [dead_letter]} if named else {}
    answer = client.post("/api/v1/jobs/retry", json=body)
    assert answer.status_code == 202
    [again] = answer.json["jobs"]
    job = client.get(f"/api/v1/jobs/{again}").json
    assert (job["status"], job["retry_of"], job["prompt"], job["seed"]) == ("queued", dead_letter, "poison", 7)
    assert client.post("/api/v1/jobs/retry", json=body).json["jobs"] == []
    assert client.get(f"/api/v1/jobs/{dead_letter}").json["status"] == "failed"
    assert rows(app, Job) == 3


def test_a_retry_has_as_much_time_as_the_dead_letter_had(client: ApiClient, database: Database, dead_letter: str):
    with database.write() as session:
        late = {"created_at": 1000.0, "deadline_at": 1600.0}
        session.execute(update(Job).where(Job.id == dead_letter).values(late))
    [again] = client.post("/api/v1/jobs/retry", json={}).json["jobs"]
    with database.read() as session:
        job = session.get_one(Job, again)
        assert job.deadline_at == pytest.approx(job.created_at + 600)


@pytest.mark.parametrize("what", ["its spec", "its prompt", "its picture"])
def test_a_dead_letter_that_is_not_whole_is_left_out_and_those_behind_it_are_retried(
    client: ApiClient, database: Database, dead_letter: str, what: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(jobs, "MAX_RETRIED_JOBS", 1)
    whole = client.post("/api/v1/jobs", json={"prompt": "whole"}).json["id"]
    with database.write() as session:
        first = session.get_one(Job, dead_letter)
        if what == "its spec":
            first.spec = {}
        elif what == "its prompt":
            first.forgotten = int(Forgotten.PROMPT)
        else:
            first.spec = first.spec | {"image": "ab" * 32, "strength": 0.5}
        values = {"state": "failed", "error_code": "worker_lost", "error_message": ""}
        session.execute(update(Job).where(Job.id == whole).values(values))
    [again] = client.post("/api/v1/jobs/retry", json={}).json["jobs"]
    assert client.get(f"/api/v1/jobs/{again}").json["retry_of"] == whole


def test_only_dead_letters_can_be_retried(client: ApiClient, app: App, dead_letter: str):
    fine = client.get("/api/v1/jobs").json["items"][0]["id"]
    assert client.post("/api/v1/jobs/retry", json={"jobs": [fine, "job_none"]}).json["jobs"] == []
    assert client.post("/api/v1/jobs/retry", json={"jobs": []}).status_code == 422
