"""A repeated request with an idempotency key creates nothing new."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.db.ledger import EarlierResult, NewJob
from limner_shared.db.tables import Bulk, Job
from limner_shared.domain.jobs import JobRequest, Priority
from limner_shared.errors import StorageFailed
from limner_web.intake import submission
from limner_web.intake.submission import ALWAYS_HASHED
from tests.api.clients import ApiClient, App
from tests.api.test_bulks import both_databases, lines, rows
from tests.processes import eventually

KEY = {"Idempotency-Key": "mine"}


@both_databases
def test_concurrent_requests_with_the_same_key_create_one_job(client: ApiClient, app: App):
    def ask(_: int) -> str:
        return app.test_client().post("/api/v1/jobs", json={"prompt": "x"}, headers=KEY).json["id"]

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(ask, range(12)))) == 1
    assert rows(app, Job) == 1


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_key_stored_without_the_lock_by_an_earlier_release_still_creates_one_job(app: App, database: Database):
    request = JobRequest(prompt="x")
    card, spec = app.extensions["limner"].catalogue.resolve(request)
    digest = hashlib.sha256(request.model_dump_json(include={*ALWAYS_HASHED}).encode()).hexdigest()
    waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")

    def waiting() -> int:
        with database.read() as session:
            return session.scalar(waits)

    with ThreadPoolExecutor(1) as pool:
        with database.write() as session:
            [made] = ledger.submit(
                session, ledger.LOCAL_TENANT, [NewJob(spec, card.cost(spec), Priority.NORMAL)]
            ).changes
            ledger.store_idempotency_key(session, ledger.LOCAL_TENANT, "mine", digest, EarlierResult(made.id))
            session.flush()
            asked = pool.submit(app.test_client().post, "/api/v1/jobs", json={"prompt": "x"}, headers=KEY)
            eventually(waiting)
        assert asked.result(30).json["id"] == made.id
    assert rows(app, Job) == 1


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/api/v1/bulks"])
def test_a_different_request_with_a_used_key_is_refused(client: ApiClient, app: App, path: str):
    kind = {"content_type": "application/json" if path.endswith("jobs") else "application/jsonl"}
    assert client.post(path, data='{"prompt": "x"}', headers=KEY, **kind).status_code == 202
    refused = client.post(path, data='{"prompt": "y"}', headers=KEY, **kind)
    assert (refused.status_code, refused.json["code"]) == (409, "idempotency_conflict")
    assert rows(app, Job) == 1


def test_a_repeated_bulk_request_returns_the_same_bulk(client: ApiClient, app: App):
    data = lines(*[{"prompt": "x"}] * 3)
    first, second = (
        client.post("/api/v1/bulks", data=data, content_type="application/jsonl", headers=KEY) for _ in range(2)
    )
    assert first.json["id"] == second.json["id"]
    assert (rows(app, Job), rows(app, Bulk)) == (3, 1)


def test_without_a_key_each_request_creates_a_job(client: ApiClient, app: App):
    for _ in range(2):
        client.post("/api/v1/jobs", json={"prompt": "x"})
    assert rows(app, Job) == 2


def test_dropping_a_stale_bulk_also_deletes_its_idempotency_key(database: Database):
    with database.write() as session:
        bulk_id = ledger.open_bulk(session, ledger.LOCAL_TENANT)
        ledger.store_idempotency_key(session, ledger.LOCAL_TENANT, "mine", "digest", EarlierResult(bulk_id))
        assert ledger.stale_bulks(session, 60) == []
        assert ledger.stale_bulks(session, -1) == [bulk_id]
        ledger.drop_bulk(session, bulk_id)
    with database.write() as session:
        assert ledger.find_idempotency_key(session, ledger.LOCAL_TENANT, "mine", "digest") is None


@pytest.mark.parametrize("headers", [KEY, {"X-Stainless-Retry-Count": "1"}])
def test_a_retry_of_an_accepted_request_gets_its_job_whatever_has_changed_since(
    client: ApiClient, app: App, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    body = {"prompt": "a boat"}
    first = {"X-Stainless-Retry-Count": "0"} if "X-Stainless-Retry-Count" in headers else headers
    accepted = client.post("/api/v1/jobs", json=body, headers=first)
    assert accepted.status_code == 202

    def fail(*_: object) -> None:
        raise StorageFailed

    monkeypatch.setattr(submission, "check_and_store_inputs", fail)
    retried = client.post("/api/v1/jobs", json=body, headers=headers)
    assert (retried.status_code, retried.json["id"]) == (202, accepted.json["id"])
    assert client.post("/api/v1/jobs", json=body).json["code"] == "storage_failed"
    assert rows(app, Job) == 1
