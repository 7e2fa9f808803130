"""A client moves its waiting jobs between the priority classes."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.db.tables import Job
from limner_web.api import cancellations
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_bulks import both_databases


def submitted(client: ApiClient, **fields: str) -> str:
    return client.post("/api/v1/jobs", json={"prompt": "red apple", **fields}).json["id"]


def test_a_waiting_job_moves_to_another_class_and_waits_for_its_release_again(client: ApiClient, app: App) -> None:
    job_id = submitted(client)
    before = client.get(f"/api/v1/jobs/{job_id}").json
    database = app.extensions["limner"].database
    moved = client.put(f"/api/v1/jobs/{job_id}/priority", json={"priority": "high"}).json
    assert (before["priority"], moved["priority"]) == ("normal", "high")
    assert moved["version"] == before["version"] + 1
    with database.read() as session:
        row = session.get_one(Job, job_id)
        assert (row.priority, row.released_at, row.lane) == (0, None, None)
    again = client.put(f"/api/v1/jobs/{job_id}/priority", json={"priority": "high"}).json
    assert again["version"] == moved["version"]


def test_a_job_that_runs_or_has_ended_keeps_its_class(client: ApiClient, app: App) -> None:
    job_id = submitted(client)
    claim = start(app, job_id)
    for end in (lambda: None, lambda: finish(app, claim, png("red"))):
        end()
        refused = client.put(f"/api/v1/jobs/{job_id}/priority", json={"priority": "low"})
        assert (refused.status_code, refused.json["code"]) == (409, "invalid_state")
    assert client.get(f"/api/v1/jobs/{job_id}").json["priority"] == "normal"


@both_databases
def test_the_jobs_that_wait_are_canceled_by_model_and_class_and_then_all(
    client: ApiClient, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, other = submitted(client), submitted(client, model="limner-gan")
    start(app, running)
    low, normal = submitted(client, priority="low"), [submitted(client) for _ in range(3)]

    def canceled(which: dict[str, str]) -> tuple[int, bool]:
        answer = client.post("/api/v1/jobs/cancel", json=which).json
        return answer["canceled"], answer["more"]

    assert canceled({"model": "limner-flow", "priority": "low"}) == (1, False)
    assert client.get(f"/api/v1/jobs/{low}").json["status"] == "canceled"
    monkeypatch.setattr(cancellations, "CANCELED_AT_ONCE", 2)
    assert canceled({"model": "limner-flow"}) == (2, True)
    states = [client.get(f"/api/v1/jobs/{job_id}").json["status"] for job_id in (*normal, other, running)]
    assert states == ["canceled", "canceled", "queued", "queued", "running"]
    assert canceled({}) == (2, False)
    assert canceled({}) == (0, False)
    assert client.get(f"/api/v1/jobs/{running}").json["status"] == "running"


def test_the_waiting_jobs_of_others_stay_and_unknown_fields_are_refused(client: ApiClient, database: Database) -> None:
    job_id = submitted(client)
    for body in ({"priority": "first"}, {"ids": [job_id]}, {"model": 1}):
        assert client.post("/api/v1/jobs/cancel", json=body).status_code == 422
    with database.write() as session:
        ledger.ensure_tenant(session, "tenant_other", "other")
        session.execute(update(Job).values(tenant_id="tenant_other"))
    assert client.post("/api/v1/jobs/cancel", json={}).json == {"canceled": 0, "more": False, "cancellation": None}
    with database.read() as session:
        assert session.get_one(Job, job_id).state == "queued"


def test_unknown_classes_and_jobs_of_others_are_refused(client: ApiClient, database: Database) -> None:
    job_id = submitted(client)
    for body in ({"priority": "first"}, {}, {"priority": "high", "place": 1}):
        assert client.put(f"/api/v1/jobs/{job_id}/priority", json=body).status_code == 422
    with database.write() as session:
        ledger.ensure_tenant(session, "tenant_other", "other")
        session.execute(update(Job).values(tenant_id="tenant_other"))
    assert client.put(f"/api/v1/jobs/{job_id}/priority", json={"priority": "high"}).status_code == 404
