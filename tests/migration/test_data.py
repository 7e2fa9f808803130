"""Migrations keep existing rows and fill in the columns that the new code needs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from limner_shared.db import ledger, queries, release_queries, schema
from limner_shared.db.engine import Database
from limner_shared.domain.jobs import JobState, Priority

MODEL = "limner-flow"
SPEC = {
    "version": 1,
    "prompt": "a red apple",
    "negative_prompt": "",
    "model": MODEL,
    "style": None,
    "width": 256,
    "height": 256,
    "steps": 24,
    "guidance": 4.5,
    "seed": 4294967295,
    "n": 1,
}
DEFAULTS = {
    "bulk_id": None,
    "bulk_line": None,
    "version": 1,
    "priority": Priority.NORMAL.rank,
    "model": MODEL,
    "cost": 384,
    "spec": json.dumps(SPEC),
    "extra": json.dumps({"mine": [1, "ü"]}),
    "attempt": 0,
    "losses": 0,
    "owner": None,
    "lease_until": None,
    "released_at": None,
    "created_at": 1_700_000_000.125,
    "started_at": None,
    "finished_at": None,
    "error_code": None,
    "error_message": None,
    "error_retryable": None,
}
RUNS = {
    "owner": "host/1",
    "lease_until": 1_700_000_300.5,
    "started_at": 1_700_000_200.5,
    "released_at": 1_700_000_100.5,
}
ENDED = {"started_at": 1_700_000_200.5, "released_at": 1_700_000_100.5, "finished_at": 1_700_000_400.5, "attempt": 1}
LOST = {"error_code": "worker_lost", "error_message": "two were lost", "error_retryable": True}
SINGLE_JOBS: dict[str, dict[str, Any]] = {
    "job_1_waits": {"state": "queued"},
    "job_2_released": {"state": "queued", "attempt": 1, "losses": 1, "released_at": 1_700_000_100.5},
    "job_3_running": {"state": "running", "attempt": 2, **RUNS},
    "job_4_succeeded": {"state": "succeeded", **ENDED},
    "job_5_failed": {"state": "failed", **ENDED, **LOST},
    "job_6_canceled": {"state": "canceled", "finished_at": 1_700_000_400.5},
}
JOBS = SINGLE_JOBS | {
    f"{job_id}_in_bulk": values | {"bulk_id": "bulk_1", "bulk_line": line, "priority": Priority.LOW.rank}
    for line, (job_id, values) in enumerate(SINGLE_JOBS.items())
}
LIVE = {job_id for job_id, values in JOBS.items() if values["state"] in ("queued", "running")}
QUEUED = {job_id for job_id, values in JOBS.items() if values["state"] == "queued"}

Table = dict[str, dict[str, Any]]


def insert(database: Database, table: str, rows: list[dict[str, Any]]) -> None:
    columns = list(rows[0])
    values = ", ".join(f":{column}" for column in columns)
    with database.write() as session:
        session.execute(text(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})"), rows)  # noqa: S608


def read(database: Database, table: str) -> Table:
    with database.read() as session:
        rows = session.execute(text(f"SELECT * FROM {table} ORDER BY 1")).mappings().all()  # noqa: S608
    return {str(next(iter(row.values()))): {name: _plain(value) for name, value in row.items()} for row in rows}


def _plain(value: object) -> object:
    """Return a value in the same form for both databases: SQLite returns JSON as text."""
    return json.loads(value) if isinstance(value, str) and value.startswith("{") else value


def columns(rows: Table, names: Table) -> Table:
    """Keep only the columns that the other table has too."""
    kept = next(iter(names.values()))
    return {key: {name: value for name, value in row.items() if name in kept} for key, row in rows.items()}


def unreleased(jobs: Table) -> Table:
    """The expected jobs after the migration: queued jobs are not released, so that they are released to a lane."""
    return {job_id: row | ({"released_at": None} if job_id in QUEUED else {}) for job_id, row in jobs.items()}


TABLES = ("tenants", "api_keys", "bulks", "jobs", "events", "images", "idempotency_keys")


def read_all(database: Database) -> dict[str, Table]:
    return {table: read(database, table) for table in TABLES}


@pytest.fixture
def old_database(empty_database_url: str) -> Iterator[Database]:
    """A database of the previous version, with a job in each state, alone and in a bulk."""
    schema.upgrade(empty_database_url, "0001")
    database = Database(empty_database_url)
    insert(database, "tenants", [{"id": "tenant_a", "name": "a", "created_at": 1.5}])
    key = {"id": "key_1", "tenant_id": "tenant_a", "label": "x", "digest": "d" * 64, "created_at": 2.5}
    insert(database, "api_keys", [key])
    bulk = {"id": "bulk_1", "tenant_id": "tenant_a", "state": "open", "total": 6}
    insert(database, "bulks", [bulk | {"created_at": 3.5, "touched_at": 4.5}])
    insert(
        database, "jobs", [{"id": job_id, "tenant_id": "tenant_a", **DEFAULTS, **row} for job_id, row in JOBS.items()]
    )
    event = {"job_id": "job_3_running", "attempt": 2, "kind": "claimed", "detail": '{"owner": "host/1"}'}
    insert(database, "events", [event | {"created_at": 5.5}])
    image = {"id": "img_1", "job_id": "job_4_succeeded", "image_index": 0, "sha256": "ab" * 32, "seed": 4294967295}
    image |= {"media_type": "image/png", "width": 256, "height": 256, "size_bytes": 9, "receipt": '{"steps": 24}'}
    insert(database, "images", [image | {"created_at": 6.5}])
    known = {"tenant_id": "tenant_a", "key": "k", "digest": "e" * 64, "resource_id": "job_1_waits", "created_at": 7.5}
    insert(database, "idempotency_keys", [known])
    yield database
    database.dispose()


def test_unfinished_jobs_get_a_queue_key_and_queued_ones_are_released_again(
    old_database: Database, empty_database_url: str
):
    schema.upgrade(empty_database_url)
    jobs = read(old_database, "jobs")
    for job_id in LIVE:
        assert jobs[job_id]["flow"] == ("bulk_1" if job_id.endswith("in_bulk") else "tenant_a")
        assert jobs[job_id]["lane"] is None
    assert all(jobs[job_id]["released_at"] is None for job_id in QUEUED)
    assert all(jobs[job_id]["released_at"] == RUNS["released_at"] for job_id in LIVE - QUEUED)


def test_all_other_values_are_unchanged(old_database: Database, empty_database_url: str):
    before = read_all(old_database)
    schema.upgrade(empty_database_url)
    after = read_all(old_database)
    before["jobs"] = unreleased(before["jobs"])
    assert {table: columns(after[table], before[table]) for table in TABLES} == before


def test_tenants_get_default_limits_and_bulks_their_counts(old_database: Database, empty_database_url: str):
    schema.upgrade(empty_database_url)
    with old_database.read() as session:
        assert release_queries.shares(session, ["tenant_a"]) == {"tenant_a": release_queries.Share(1.0, None, 2)}
        bulk = queries.bulk(session, "tenant_a", "bulk_1")
        assert queries.bulk_counts(session, bulk) == {
            JobState.QUEUED: 2,
            JobState.RUNNING: 1,
            JobState.SUCCEEDED: 1,
            JobState.FAILED: 1,
            JobState.CANCELED: 1,
        }


def test_the_new_code_continues_with_the_old_jobs(old_database: Database, empty_database_url: str):
    schema.upgrade(empty_database_url)
    with old_database.write() as session:
        for priority, flow in ((Priority.NORMAL, "tenant_a"), (Priority.LOW, "bulk_1")):
            assert release_queries.waiting_tenants(session, MODEL, priority.rank) == ["tenant_a"]
            [line] = release_queries.waiting_queues(session, MODEL, priority.rank, "tenant_a", "", 9)
            assert (line.queue_key, line.open) == (flow, True)
            ids = [
                job.id for job in release_queries.waiting_jobs(session, MODEL, priority.rank, "tenant_a", flow, "", 9)
            ]
            assert ids == sorted(job_id for job_id in QUEUED if ("bulk" in job_id) == ("bulk" in flow))
        reaped = {change.id for change in ledger.reap(session, 2)}
        assert reaped == LIVE - QUEUED
        assert {claim.id for claim in ledger.claim_next(session, [MODEL], 9, "me", 60)} == LIVE
        [again] = ledger.retry_dead(session, "tenant_a", ["job_5_failed"], 9)
        assert again.id not in JOBS


def test_downgrading_and_upgrading_again_restores_all_rows(old_database: Database, empty_database_url: str):
    before = read_all(old_database)
    before["jobs"] = unreleased(before["jobs"])
    schema.upgrade(empty_database_url)
    first = read_all(old_database)
    old_database.dispose()
    schema.downgrade(empty_database_url, "0001")
    assert read_all(old_database) == before
    old_database.dispose()
    schema.upgrade(empty_database_url)
    assert read_all(old_database) == first


def test_more_jobs_than_fit_in_one_transaction_get_their_queue_keys(old_database: Database, empty_database_url: str):
    many = [{"id": f"job_{n:05}", "tenant_id": "tenant_a", **DEFAULTS, "state": "queued"} for n in range(5001)]
    insert(old_database, "jobs", many)
    schema.upgrade(empty_database_url)
    with old_database.read() as session:
        left = session.scalar(text("SELECT count(*) FROM jobs WHERE flow = '' AND state IN ('queued', 'running')"))
    assert left == 0
