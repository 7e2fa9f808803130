"""Pauses over HTTP: who may pause, and what clients see of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis import Redis
from sqlalchemy.orm import Session

from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.messaging.reports import WorkerReport, delete_report, write_report
from tests.api.clients import ApiClient, App
from tests.api.test_bulks import both_databases
from tests.api.test_keys import actions, make_key

PAUSES, JOBS = "/api/v1/pauses", "/api/v1/jobs"
MODEL = "limner-flow"


@both_databases
def test_a_pause_is_shown_by_jobs_models_and_readiness_until_it_is_resumed(client: ApiClient, database: Database):
    until = (datetime.now(UTC) + timedelta(hours=2)).isoformat(timespec="seconds")
    job = client.post(JOBS, json={"prompt": "x"}).json
    before = client.get(job["links"]["self"])
    assert before.json["paused"] is None
    made = client.post(PAUSES, json={"model": MODEL, "reason": "new weights", "until": until})
    assert (made.status_code, made.json["actor"]) == (200, "anonymous")
    after = client.get(job["links"]["self"], headers={"If-None-Match": before.headers["ETag"]})
    assert after.status_code == 200  # not 304: the pause is a change
    assert after.json["paused"]["reason"] == "new weights"
    assert datetime.fromisoformat(after.json["paused"]["until"]) == datetime.fromisoformat(until)
    assert client.get(JOBS).json["items"][0]["paused"]["what"] == "model"
    models = {model["name"]: model["paused"] for model in client.get("/api/v1/models").json["items"]}
    assert models[MODEL]["reason"] == "new weights"
    assert models["limner-gan"] is None
    assert client.post(PAUSES, json={"tenant": "local"}).json["tenant"] == "local"
    listed = client.get(PAUSES).json["items"]
    assert [(one["model"], one["tenant"]) for one in listed] == [(MODEL, None), (None, "local")]
    for one in listed:
        assert client.delete(f"{PAUSES}/{one['id']}").status_code == 204
    assert client.delete(f"{PAUSES}/{listed[0]['id']}").status_code == 404
    assert client.get(job["links"]["self"]).json["paused"] is None
    assert [action for _, action, _ in actions(database)] == ["queue_paused"] * 2 + ["queue_resumed"] * 2


def test_readiness_names_paused_models_and_counts_tenants(client: ApiClient):
    client.post(PAUSES, json={"model": MODEL})
    client.post(PAUSES, json={"tenant": "local"})
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json["paused"]) == (200, {"models": [MODEL], "tenants": 1})


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"model": MODEL, "tenant": "local"},
        {"model": MODEL, "worker": "gpu:7:0123abcd"},
        {"model": "none"},
        {"model": ""},
        {"model": MODEL, "until": "2020-01-01T00:00:00Z"},
        {"model": MODEL, "until": "tomorrow"},
        {"model": MODEL, "reason": "x" * 201},
        {"model": MODEL, "reason": "a\x00b"},
        {"model": MODEL, "other": 1},
    ],
)
def test_an_invalid_pause_is_refused_and_changes_nothing(client: ApiClient, body: dict[str, Any]):
    assert client.post(PAUSES, json=body).status_code == 422
    assert client.get(PAUSES).json["items"] == []


def test_a_worker_drains_by_its_id_and_the_list_of_workers_shows_its_own_report(client: ApiClient, app: App):
    redis = app.extensions["limner"].hints.redis
    names = ("gpu:7:0123abcd", "gpu:8:0123abcd")
    for name in names:
        report = WorkerReport(owner=name, models=[MODEL], device="cpu", held=0, closed=[], stalled=[])
        write_report(redis, report.model_copy(update={"draining": name == names[0]}))
    made = client.post(PAUSES, json={"worker": names[0]})
    assert (made.status_code, made.json["worker"], made.json["model"]) == (200, names[0], None)
    assert client.post(PAUSES, json={"worker": "gpu"}).status_code == 422
    assert client.post(PAUSES, json={"worker": "other"}).status_code == 404
    assert [(one["id"], one["draining"]) for one in client.get("/api/v1/workers").json["items"]] == [
        (names[0], True),
        (names[1], False),
    ]
    [queue] = [each for each in client.get("/api/v1/queues").json["items"] if each["model"] == MODEL]
    assert queue["workers"] == 1
    assert client.get("/readyz").json["paused"] == {"models": [], "tenants": 0}
    assert client.delete(f"{PAUSES}/{made.json['id']}").status_code == 204
    for name in names:
        delete_report(redis, WorkerReport, name)


def test_no_writer_waits_while_redis_is_asked_for_workers(
    client: ApiClient, database: Database, monkeypatch: pytest.MonkeyPatch
):
    def find(_session: Session, _redis: Redis, name: str) -> list[str]:
        with database.write() as other:  # SQLite has one writer at a time
            ledger.ensure_tenant(other, "tenant_x", "x")
        return [name]

    monkeypatch.setattr("limner_web.api.pauses.find_workers", find)
    assert client.post(PAUSES, json={"worker": "gpu:7:0123abcd"}).status_code == 200


def test_an_unknown_tenant_is_not_found(client: ApiClient):
    assert client.post(PAUSES, json={"tenant": "acme"}).status_code == 404


def test_only_the_operators_admin_key_may_pause(make_app: Callable[..., App], database: Database):
    client = make_app(require_keys=True).test_client()
    for headers, code in (
        (make_key(database, "local"), "admin_scope_required"),
        (make_key(database, "acme", "admin"), "operator_required"),
        (make_key(database, "acme", "read", "submit"), "admin_scope_required"),
    ):
        for answer in (
            client.post(PAUSES, json={"model": MODEL}, headers=headers),
            client.get(PAUSES, headers=headers),
            client.delete(f"{PAUSES}/pause_1", headers=headers),
        ):
            assert (answer.status_code, answer.json["code"]) == (403, code)
    operator = make_key(database, "local", "admin")
    assert client.post(PAUSES, json={"tenant": "acme", "reason": "unpaid"}, headers=operator).status_code == 200
    job = client.post(JOBS, json={"prompt": "x"}, headers=make_key(database, "acme")).json
    assert (job["paused"]["what"], job["paused"]["reason"]) == ("tenant", "unpaid")
    log = client.get("/api/v1/audit", headers=make_key(database, "acme", "admin")).json["items"]
    assert "queue_paused" in [entry["action"] for entry in log]


OWN = "/api/v1/pause"


@both_databases
def test_a_tenant_pauses_only_itself_and_cannot_end_the_operators_pause(
    make_app: Callable[..., App], database: Database
):
    client = make_app(require_keys=True).test_client()
    acme, other, reader = make_key(database, "acme"), make_key(database, "other"), make_key(database, "acme", "read")
    operator = make_key(database, "local", "admin")
    assert client.get(OWN, headers=reader).json == {"own": None, "operator": None}
    for refused in (client.put(OWN, json={}, headers=reader), client.delete(OWN, headers=reader)):
        assert (refused.status_code, refused.json["code"]) == (403, "submit_scope_required")
    until = (datetime.now(UTC) + timedelta(hours=2)).isoformat(timespec="seconds")
    mine = client.put(OWN, json={"reason": "later", "until": until}, headers=acme).json
    assert (mine["own"]["reason"], mine["own"]["own"], mine["operator"]) == ("later", True, None)
    job = client.post(JOBS, json={"prompt": "x"}, headers=acme).json
    assert (job["paused"]["what"], job["paused"]["own"], job["paused"]["reason"]) == ("tenant", True, "later")
    assert "your own queue" in client.get(f"{JOBS}/{job['id']}/explain", headers=acme).json["message"]
    assert client.post(JOBS, json={"prompt": "x"}, headers=other).json["paused"] is None
    assert client.get("/readyz").json["paused"]["tenants"] == 0
    [listed] = client.get(PAUSES, headers=operator).json["items"]
    assert (listed["tenant"], listed["own"]) == ("acme", True)
    client.post(PAUSES, json={"tenant": "acme", "reason": "unpaid"}, headers=operator)
    assert client.delete(OWN, headers=other).json == {"own": None, "operator": None}
    left = client.delete(OWN, headers=acme).json
    assert (left["own"], left["operator"]["reason"], left["operator"]["own"]) == (None, "unpaid", False)
    again = client.get(f"{JOBS}/{job['id']}", headers=acme).json
    assert (again["paused"]["reason"], again["paused"]["own"]) == ("unpaid", False)
    assert client.delete(OWN, headers=acme).status_code == 200
    log = client.get("/api/v1/audit", headers=make_key(database, "acme", "admin")).json["items"]
    assert [entry["action"] for entry in log].count("queue_resumed") == 1


@pytest.mark.parametrize(
    "body",
    [{"until": "2020-01-01T00:00:00Z"}, {"reason": ""}, {"reason": "x" * 201}, {"tenant": "other"}, {"model": MODEL}],
)
def test_an_invalid_pause_of_ones_own_queue_is_refused(client: ApiClient, body: dict[str, Any]):
    assert client.put(OWN, json=body).status_code == 422
    assert client.put(OWN, data="null", content_type="application/json").status_code == 400
    assert client.put(OWN, data="reason=x").status_code == 415
    assert client.get(OWN).json["own"] is None
