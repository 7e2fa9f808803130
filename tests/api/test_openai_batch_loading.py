"""Loading a batch: all of its lines are queued or none, whichever process is killed."""

from __future__ import annotations

import os
import signal
from typing import Any

import openai
import pytest
from sqlalchemy import func, select, update

from limner_shared.db import batches, ledger
from limner_shared.db.batch_tables import Batch, BatchLine
from limner_shared.db.batches import NewBatch
from limner_shared.db.engine import Database
from limner_shared.db.ledger import LOCAL_TENANT
from limner_shared.db.tables import Bulk, Job, Tenant
from limner_shared.domain.batches import BatchState
from limner_shared.errors import Overloaded, StorageFailed
from limner_web.intake import bulk_submission, busy
from limner_web.intake.bulk_reader import BulkReader
from limner_web.openai import batch_loader
from limner_web.openai.batch_loader import BatchLoader
from tests.api.batches import (
    BATCHES,
    URL,
    batch,
    change,
    create,
    events,
    jsonl,
    loader,
    request_line,
    sweep,
    told,
    upload,
)
from tests.api.clients import ApiClient, App
from tests.api.test_bulks import both_databases, rows
from tests.processes import Service, eventually

__all__ = ["events", "loader"]


@pytest.mark.long
def test_a_batch_goes_on_in_another_process_after_its_own_was_killed(server: Service):
    calls = [request_line(str(number)) for number in range(4000)]
    url = f"http://127.0.0.1:{server.settings.port}/v1"
    with openai.OpenAI(base_url=url, api_key="unused", max_retries=5) as client:
        file = client.files.create(file=("requests.jsonl", jsonl(*calls)), purpose="batch")
        made = client.batches.create(input_file_id=file.id, endpoint=URL, completion_window="24h")

        def loading() -> str | None:
            with server.database.read() as session:
                return session.scalar(select(Job.bulk_id).limit(1))

        eventually(loading)
        os.killpg(server.processes[0].pid, signal.SIGKILL)
        server.processes[0].wait(10)
        with server.database.write() as session:
            session.execute(update(Batch).values(lease_until=1))
        server.start_web()
        eventually(lambda: client.batches.retrieve(made.id).status == "in_progress", 90)
        with server.database.read() as session:
            bulk_id = session.scalar(select(Batch.bulk_id))
            jobs = session.scalar(select(func.count()).where(Job.bulk_id == bulk_id))
        assert client.batches.retrieve(made.id).request_counts.total == jobs == len(calls)


@both_databases
def test_a_file_with_bad_lines_fails_with_their_numbers_and_queues_nothing(
    client: ApiClient, app: App, loader: BatchLoader, events: None
):
    wrong: list[Any] = [
        request_line("a"),
        request_line("b", size="999x999"),
        {"custom_id": "c", "method": "GET", "url": URL, "body": {}},
        request_line("d", model="gpt-9"),
        request_line("e", stream=True),
        "text",
    ]
    made = create(client, *wrong)
    assert loader.load_next()
    found = batch(client, made)
    assert (found["status"], found["request_counts"]["total"]) == ("failed", 6)
    assert found["failed_at"] >= found["created_at"]
    assert found["errors"]["object"] == "list"
    params = {error["line"]: error["param"] for error in found["errors"]["data"]}
    assert params == {2: "size", 3: "method", 4: "model", 5: "stream", 6: None}
    sweep(app)
    assert rows(app, Job) == rows(app, BatchLine) == 0
    assert told(app) == [("batch.failed", {"id": made})]


@both_databases
@pytest.mark.parametrize("together", [1, 1000])
def test_a_custom_id_that_comes_twice_is_refused_with_both_lines(
    client: ApiClient, app: App, loader: BatchLoader, monkeypatch: pytest.MonkeyPatch, together: int
):
    monkeypatch.setattr(bulk_submission, "CHUNK", together)
    made = create(client, request_line("a"), request_line("b"), request_line("a"))
    loader.load_next()
    [error] = batch(client, made)["errors"]["data"]
    assert (error["line"], error["param"]) == (3, "custom_id")
    assert "line 1" in error["message"]
    sweep(app)
    assert rows(app, Job) == rows(app, BatchLine) == 0


@pytest.mark.parametrize("data", [b"", b"\n \n"])
def test_an_empty_file_fails(client: ApiClient, loader: BatchLoader, data: bytes):
    body = {"input_file_id": upload(client, data), "endpoint": URL, "completion_window": "24h"}
    made = client.post(BATCHES, json=body).json["id"]
    loader.load_next()
    [error] = batch(client, made)["errors"]["data"]
    assert (error["code"], error["line"]) == ("invalid_bulk", None)


def test_a_file_that_was_deleted_before_it_is_read_fails(client: ApiClient, loader: BatchLoader):
    made = create(client, request_line("a"))
    client.delete(f"/v1/files/{batch(client, made)['input_file_id']}")
    loader.load_next()
    [error] = batch(client, made)["errors"]["data"]
    assert (error["code"], error["param"]) == ("not_found", "input_file_id")


@both_databases
def test_a_batch_of_a_killed_process_is_taken_over_and_its_jobs_are_queued_once(
    client: ApiClient, app: App, loader: BatchLoader, monkeypatch: pytest.MonkeyPatch
):
    made = create(client, request_line("a"), request_line("b"))
    monkeypatch.setattr(bulk_submission, "CHUNK", 1)

    class Killed(BaseException):
        pass

    def die(*_arguments: object, **_named: Any) -> None:
        raise Killed

    def leave(*_arguments: object) -> None:
        """A killed process drops nothing."""

    with monkeypatch.context() as patch:
        patch.setattr(batches, "begin", die)
        patch.setattr(bulk_submission, "_drop", leave)
        with pytest.raises(Killed):
            loader.load_next()
    assert not loader.load_next()  # while its lease lasts
    change(app, made, lease_until=1)
    assert loader.load_next()
    assert batch(client, made)["status"] == "in_progress"
    with app.extensions["limner"].database.write() as session:
        [stale] = ledger.stale_bulks(session, -1)
        ledger.drop_bulk(session, stale)
    sweep(app)
    assert (rows(app, Job), rows(app, BatchLine), rows(app, Bulk)) == (2, 2, 1)


@both_databases
def test_a_process_that_lost_its_lease_queues_nothing(
    client: ApiClient, app: App, loader: BatchLoader, monkeypatch: pytest.MonkeyPatch
):
    made = create(client, request_line("a"))
    claimed = loader._claim(BatchState.VALIDATING)
    assert claimed is not None
    change(app, made, lease_until=1)
    assert loader.load_next()
    loader._load(claimed)
    assert batch(client, made)["status"] == "in_progress"
    sweep(app)
    assert rows(app, Job) == 1


def test_reading_a_file_renews_the_lease(
    client: ApiClient, app: App, loader: BatchLoader, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(batch_loader, "RENEW_SECONDS", -1)
    begin = batches.begin
    leases: list[float | None] = []

    def look(session: Any, claimed: Batch, bulk_id: str) -> None:
        leases.append(session.scalar(select(Batch.lease_until)))
        begin(session, claimed, bulk_id)

    monkeypatch.setattr(batches, "begin", look)
    made = create(client, request_line("a"))
    claimed = loader._claim(BatchState.VALIDATING)
    assert claimed is not None
    change(app, made, lease_until=1)
    loader._load(claimed)
    assert leases[0] > 1
    assert batch(client, made)["status"] == "in_progress"


def test_a_batch_that_is_cancelled_while_it_is_read_queues_nothing(client: ApiClient, app: App, loader: BatchLoader):
    made = create(client, request_line("a"))
    claimed = loader._claim(BatchState.VALIDATING)
    assert claimed is not None
    assert client.post(f"{BATCHES}/{made}/cancel").json["status"] == "cancelled"
    loader._load(claimed)
    sweep(app)
    assert rows(app, Job) == 0
    assert batch(client, made)["status"] == "cancelled"


def test_a_file_that_cannot_be_read_now_is_read_later(
    client: ApiClient, app: App, loader: BatchLoader, monkeypatch: pytest.MonkeyPatch
):
    made = create(client, request_line("a"))

    def fails(*_arguments: object) -> bytes:
        raise StorageFailed

    with monkeypatch.context() as patch:
        patch.setattr(app.extensions["limner"].blobs, "get_file_part", fails)
        loader.load_next()
    assert batch(client, made)["status"] == "validating"
    change(app, made, lease_until=1)
    loader.load_next()
    sweep(app)
    assert batch(client, made)["status"] == "in_progress"
    assert rows(app, Job) == 1


def test_a_busy_process_reads_a_file_once(
    client: ApiClient, app: App, loader: BatchLoader, monkeypatch: pytest.MonkeyPatch
):
    made = create(client, request_line("a"))
    blobs, refusals = app.extensions["limner"].blobs, [Overloaded()]
    part = blobs.get_file_part

    def get(*arguments: Any) -> bytes:
        if refusals:
            raise refusals.pop()
        return part(*arguments)

    monkeypatch.setattr(busy, "BUSY_SECONDS", 0)
    monkeypatch.setattr(blobs, "get_file_part", get)
    loader.load_next()
    assert (batch(client, made)["status"], refusals) == ("in_progress", [])


@pytest.mark.parametrize("what", ["a part of the file", "a line"])
def test_a_process_that_waits_while_it_is_busy_keeps_its_batch(
    client: ApiClient, app: App, loader: BatchLoader, monkeypatch: pytest.MonkeyPatch, what: str
):
    made = create(client, request_line("a"))
    owner, name = (app.extensions["limner"].blobs, "get_file_part") if "part" in what else (BulkReader, "_parse")
    call, refusals, leases = getattr(owner, name), [Overloaded()] * 3, list[float]()

    def get(*arguments: Any) -> Any:
        with app.extensions["limner"].database.read() as session:
            leases.append(session.get_one(Batch, made).lease_until or 0)
        change(app, made, lease_until=1)  # as if the lease had passed meanwhile
        if refusals:
            raise refusals.pop()
        return call(*arguments)

    monkeypatch.setattr(busy, "BUSY_SECONDS", 0)
    monkeypatch.setattr(batch_loader, "RENEW_SECONDS", 0)
    monkeypatch.setattr(owner, name, get)
    loader.load_next()
    assert (batch(client, made)["status"], len(leases), min(leases) > 1) == ("in_progress", 4, True)


@both_databases
def test_a_tenant_with_many_batches_does_not_hold_up_anothers(client: ApiClient, database: Database):
    made = create(client, *[request_line("a")])
    with database.write() as session:
        row = session.get_one(Batch, made)
        new = NewBatch(URL, row.input_file_id, "24h", 60, 60, "", {})
        for _ in range(60):
            batches.add_batch(session, LOCAL_TENANT, new)
        ledger.ensure_tenant(session, "another", "another")
        theirs = batches.add_batch(session, "another", new)
    claimed: list[str] = []
    for _ in range(30):
        with database.write() as session:
            taken = batches.claim(session, BatchState.VALIDATING, 60)
        claimed.append(taken.id if taken else "")
    assert theirs in claimed
    assert len(set(claimed)) == 30


def test_a_batch_beyond_the_tenants_limits_fails_with_the_limit(client: ApiClient, app: App, loader: BatchLoader):
    with app.extensions["limner"].database.write() as session:
        session.execute(update(Tenant).values(max_queued=1))
    made = create(client, request_line("a"), request_line("b"))
    loader.load_next()
    [error] = batch(client, made)["errors"]["data"]
    assert (error["code"], error["line"]) == ("limit_too_low", None)


def test_an_unexpected_error_fails_its_batch_and_not_the_next(
    client: ApiClient, app: App, loader: BatchLoader, monkeypatch: pytest.MonkeyPatch
):
    made, after = create(client, request_line("a")), create(client, request_line("a"))

    def breaks(*_arguments: object) -> None:
        raise KeyError("x")

    with monkeypatch.context() as patch:
        patch.setattr(batch_loader, "_store_lines", breaks)
        loader.load_next()
    loader.load_next()
    [error] = batch(client, made)["errors"]["data"]
    assert error["code"] == "internal_error"
    assert batch(client, after)["status"] == "in_progress"
