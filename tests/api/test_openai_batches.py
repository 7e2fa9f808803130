"""Batches: all lines or none, one answer for each line, whatever ends them and whichever process is killed."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
from collections.abc import Callable
from typing import Any

import openai
import pytest
from flask import Flask
from sqlalchemy import func, select, update

from limner_dispatcher.retention import Cleaner
from limner_shared.db import batches, ledger
from limner_shared.db.batch_tables import Batch, BatchLine
from limner_shared.db.engine import Database
from limner_shared.db.file_tables import StoredFile
from limner_shared.db.ledger import Result
from limner_shared.db.tables import Bulk, Image, Job, Tenant
from limner_shared.db.webhook_tables import WebhookEvent
from limner_shared.domain.batches import BatchState
from limner_shared.errors import GenerationFailed, StorageFailed
from limner_web.app import create_app
from limner_web.intake import bulk_submission
from limner_web.openai import batch_loader, batch_output
from limner_web.openai.batch_loader import BatchLoader
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_bulks import both_databases, rows
from tests.api.test_keys import make_key
from tests.processes import Service, eventually

BATCHES = "/v1/batches"
URL = "/v1/images/generations"


def request_line(custom_id: str, **body: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, "method": "POST", "url": URL, "body": {"prompt": "a cat"} | body}


def jsonl(*lines: object) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def upload(client: ApiClient, data: bytes, purpose: str = "batch", **headers: str) -> str:
    form = {"purpose": purpose, "file": (io.BytesIO(data), "requests.jsonl")}
    return client.post("/v1/files", data=form, content_type="multipart/form-data", headers=headers).json["id"]


def create(client: ApiClient, *lines: object, headers: dict[str, str] | None = None, **fields: Any) -> str:
    file = upload(client, jsonl(*lines), **(headers or {}))
    body = {"input_file_id": file, "endpoint": URL, "completion_window": "24h"} | fields
    answer = client.post(BATCHES, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json["status"] == "validating"
    return answer.json["id"]


def batch(client: ApiClient, batch_id: str) -> dict[str, Any]:
    return client.get(f"{BATCHES}/{batch_id}").json


def output(client: ApiClient, file_id: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in client.get(f"/v1/files/{file_id}/content").data.splitlines()]


def job_ids(app: Flask) -> list[str]:
    with app.extensions["limner"].database.read() as session:
        return list(session.scalars(select(Job.id).order_by(Job.bulk_line)))


def fail(app: Flask, job_id: str) -> None:
    claim = start(app, job_id)
    with app.extensions["limner"].database.write() as session:
        ledger.fail(session, Result(claim.id, claim.attempt, error=GenerationFailed()))


def sweep(app: App) -> None:
    """Do the dispatcher's part of a cancellation."""
    with app.extensions["limner"].database.write() as session:
        for bulk_id in ledger.unswept_bulks(session):
            ledger.sweep_bulk(session, bulk_id, 1000)


def change(app: App, batch_id: str, **values: Any) -> None:
    with app.extensions["limner"].database.write() as session:
        session.execute(update(Batch).where(Batch.id == batch_id).values(**values))


@pytest.fixture
def loader(app: App) -> BatchLoader:
    return BatchLoader(app.extensions["limner"])


@pytest.fixture
def events(client: ApiClient) -> None:
    """An endpoint for all events of batches."""
    kinds = [f"batch.{kind}" for kind in ("completed", "failed", "expired", "cancelled")]
    body = {"name": "x", "url": "https://nothing.invalid/x", "event_types": kinds}
    assert client.post("/v1/webhook_endpoints", json=body).status_code < 300


def told(app: App) -> list[tuple[str, dict[str, Any]]]:
    with app.extensions["limner"].database.read() as session:
        found = session.execute(select(WebhookEvent.type, WebhookEvent.data).order_by(WebhookEvent.id))
        return [(row[0], row[1]) for row in found if row[0].startswith("batch.")]


def test_the_official_client_runs_a_batch_in_a_running_service(server: Service):
    app = create_app(server.settings)
    url = f"http://127.0.0.1:{server.settings.port}/v1"
    lines = [request_line("first", n=2, seed=7), request_line("second"), request_line("third")]
    with openai.OpenAI(base_url=url, api_key="unused", max_retries=0) as client:
        file = client.files.create(file=("requests.jsonl", jsonl(*lines)), purpose="batch")
        made = client.batches.create(
            input_file_id=file.id, endpoint=URL, completion_window="24h", metadata={"night": "1"}
        )
        assert (made.status, made.metadata, made.output_file_id) == ("validating", {"night": "1"}, None)
        eventually(lambda: client.batches.retrieve(made.id).status == "in_progress", 90)
        first, second, third = job_ids(app)
        finish(app, start(app, first), png("red"), png("blue"))
        fail(app, second)
        running = client.batches.retrieve(made.id)
        assert running.request_counts.model_dump() == {"total": 3, "completed": 1, "failed": 1}
        finish(app, start(app, third), png("green"))
        done: Any = eventually(lambda: (found := client.batches.retrieve(made.id)).status == "completed" and found)
        assert (done.request_counts.completed, done.request_counts.failed) == (2, 1)
        assert done.created_at <= done.in_progress_at <= done.finalizing_at <= done.completed_at < done.expires_at
        content = client.files.content(done.output_file_id).read()
        assert client.files.retrieve(done.output_file_id).bytes == len(content)
        answers = {line["custom_id"]: line["response"] for line in map(json.loads, content.splitlines())}
        assert set(answers) == {"first", "third"}
        assert [item["seed"] for item in answers["first"]["body"]["data"]] == [7, 8]
        assert base64.b64decode(answers["third"]["body"]["data"][0]["b64_json"]) == png("green")
        [failed] = map(json.loads, client.files.content(done.error_file_id).text.splitlines())
        assert (failed["custom_id"], failed["response"]["status_code"]) == ("second", 500)
        assert failed["response"]["body"]["error"]["code"] == "generation_failed"
        assert client.files.delete(done.output_file_id).deleted
    app.extensions["limner"].database.dispose()


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


def test_a_page_of_the_list_leads_to_the_next(client: ApiClient, app: App):
    made = [create(client, request_line("a")) for _ in range(3)][::-1]
    page = client.get(f"{BATCHES}?limit=2").json
    assert ([each["id"] for each in page["data"]], page["has_more"]) == (made[:2], True)
    last = client.get(f"{BATCHES}?limit=2&after={page['last_id']}").json
    assert ([each["id"] for each in last["data"]], last["has_more"]) == (made[2:], False)
    assert client.get(f"{BATCHES}?limit=0").status_code == 422


@both_databases
def test_a_file_with_bad_lines_fails_with_their_numbers_and_queues_nothing(
    client: ApiClient, app: App, loader: BatchLoader, events: None
):
    wrong = [
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

    with monkeypatch.context() as patch:
        patch.setattr(batches, "begin", die)
        patch.setattr(bulk_submission, "_drop", lambda *_: None)
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
    begin, leases = batches.begin, []

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


def test_a_batch_beyond_the_tenants_limits_fails_with_the_limit(client: ApiClient, app: App, loader: BatchLoader):
    with app.extensions["limner"].database.write() as session:
        session.execute(update(Tenant).values(max_queued=1))
    made = create(client, request_line("a"), request_line("b"))
    loader.load_next()
    [error] = batch(client, made)["errors"]["data"]
    assert (error["code"], error["line"]) == ("limit_reached", None)


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


@both_databases
def test_a_cancelled_batch_has_the_answers_of_what_had_ended(
    client: ApiClient, app: App, loader: BatchLoader, events: None
):
    made = create(client, request_line("a"), request_line("b"))
    loader.load_next()
    first, _ = job_ids(app)
    finish(app, start(app, first), png("red"))
    answer = client.post(f"{BATCHES}/{made}/cancel")
    assert (answer.status_code, answer.json["status"]) == (200, "cancelling")
    assert client.post(f"{BATCHES}/{made}/cancel").json["status"] == "cancelling"
    assert loader.finish_next()
    found = batch(client, made)
    assert (found["status"], found["request_counts"]) == ("cancelled", {"total": 2, "completed": 1, "failed": 1})
    assert found["cancelling_at"] <= found["cancelled_at"]
    assert [line["custom_id"] for line in output(client, found["output_file_id"])] == ["a"]
    [failed] = output(client, found["error_file_id"])
    assert (failed["response"], failed["error"]["code"]) == (None, "batch_cancelled")
    assert told(app) == [("batch.cancelled", {"id": made})]
    assert client.post(f"{BATCHES}/{made}/cancel").json["status"] == "cancelled"


@both_databases
def test_a_batch_whose_time_is_over_expires_with_what_it_has(
    client: ApiClient, app: App, loader: BatchLoader, events: None
):
    late, unread = create(client, request_line("a"), request_line("b")), create(client, request_line("a"))
    loader.load_next()
    finish(app, start(app, job_ids(app)[0]), png("red"))
    for made in (late, unread):
        change(app, made, expires_at=1)
    assert not loader.finish_next()  # the dispatcher has to cancel its jobs first
    assert batch(client, late)["status"] == "finalizing"
    assert batch(client, unread)["status"] == "expired"
    assert client.post(f"{BATCHES}/{late}/cancel").status_code == 409
    sweep(app)
    assert loader.finish_next()
    found = batch(client, late)
    assert found["status"] == "expired"
    [failed] = output(client, found["error_file_id"])
    assert (failed["custom_id"], failed["error"]["code"]) == ("b", "batch_expired")
    assert told(app) == [("batch.expired", {"id": unread}), ("batch.expired", {"id": late})]


@both_databases
def test_the_output_is_measured_as_it_is_read(
    client: ApiClient, app: App, loader: BatchLoader, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(batch_output, "PAGE", 2)
    forms = [{}, {"output_format": "jpeg", "output_compression": 60}, {"response_format": "url"}, {}, {"user": "u"}]
    made = create(client, *[request_line(str(number), **form) for number, form in enumerate(forms)])
    loader.load_next()
    for job_id in job_ids(app):
        finish(app, start(app, job_id), png("red"))
    loader.finish_next()
    found = batch(client, made)
    assert (found["status"], found["error_file_id"]) == ("completed", None)
    content = client.get(f"/v1/files/{found['output_file_id']}/content").data
    assert client.get(f"/v1/files/{found['output_file_id']}").json["bytes"] == len(content)
    lines = output(client, found["output_file_id"])
    assert [line["custom_id"] for line in lines] == list("01234")
    assert lines[2]["response"]["body"]["data"][0]["url"].startswith("http://localhost/api/v1/images/img_")
    assert client.get("/v1/files?purpose=batch_output").json["data"][0]["filename"] == f"{made}_output.jsonl"


def test_a_deleted_picture_or_job_leaves_its_line(client: ApiClient, app: App, loader: BatchLoader):
    made = create(client, request_line("a"), request_line("b"), request_line("c"))
    loader.load_next()
    ids = job_ids(app)
    for colour, job_id in zip(("red", "blue", "green"), ids, strict=True):
        finish(app, start(app, job_id), png(colour))
    with app.extensions["limner"].database.read() as session:
        image = session.scalar(select(Image.id).where(Image.job_id == ids[0]))
    loader.finish_next()
    assert client.delete(f"/api/v1/images/{image}").status_code < 300
    assert client.delete(f"/api/v1/jobs/{ids[1]}").status_code < 300
    first, third = output(client, batch(client, made)["output_file_id"])
    assert (first["custom_id"], first["error"]["code"]) == ("a", "gone")
    assert (third["custom_id"], third["error"]) == ("c", None)


@both_databases
def test_a_batch_is_finished_once_by_two_processes(client: ApiClient, app: App, loader: BatchLoader, events: None):
    made = create(client, request_line("a"))
    loader.load_next()
    finish(app, start(app, job_ids(app)[0]), png("red"))
    loader._close_due()
    claimed = loader._claim(BatchState.FINALIZING)
    assert claimed is not None
    change(app, made, lease_until=1)
    assert loader.finish_next()
    loader._finish(claimed)
    assert rows(app, StoredFile) == 2
    assert told(app) == [("batch.completed", {"id": made})]


def test_a_repeated_call_returns_the_first_batch(client: ApiClient, app: App):
    file = upload(client, jsonl(request_line("a")))
    body = {"input_file_id": file, "endpoint": URL, "completion_window": "24h"}

    def send(count: int) -> str:
        return client.post(BATCHES, json=body, headers={"X-Stainless-Retry-Count": str(count)}).json["id"]

    assert send(0) == send(1)
    assert rows(app, Batch) == 1


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"endpoint": "/v1/embeddings"}, "endpoint"),
        ({"completion_window": "soon"}, "completion_window"),
        ({"completion_window": "999h"}, "completion_window"),
        ({"input_file_id": "file_none"}, "input_file_id"),
        ({"input_file_id": "\u00e9" * 50}, "input_file_id"),
        ({"metadata": {"x": "y" * 513}}, "metadata"),
        ({"metadata": {"x": 1}}, "metadata.x"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, "output_expires_after.seconds"),
        ({"priority": "high"}, "priority"),
    ],
)
def test_a_wrong_field_is_refused_by_name(client: ApiClient, app: App, fields: dict[str, Any], param: str):
    file = upload(client, jsonl(request_line("a")))
    body = {"input_file_id": file, "endpoint": URL, "completion_window": "24h"} | fields
    answer = client.post(BATCHES, json=body)
    assert (answer.status_code, answer.json["error"]["param"]) == (422, param), answer.text
    assert rows(app, Batch) == 0


def test_a_file_for_another_purpose_is_refused(client: ApiClient):
    body = {"input_file_id": upload(client, b"x", "vision"), "endpoint": URL, "completion_window": "24h"}
    answer = client.post(BATCHES, json=body)
    assert (answer.status_code, answer.json["error"]["param"]) == (422, "input_file_id")


def test_another_tenants_batch_and_file_are_not_found(make_app: Callable[..., App], database: Database):
    client = make_app(require_keys=True).test_client()
    mine, other = make_key(database, "mine"), make_key(database, "other")
    made = create(client, request_line("a"), headers=mine)
    file = client.get(f"{BATCHES}/{made}", headers=mine).json["input_file_id"]
    assert client.get(f"{BATCHES}/{made}", headers=other).status_code == 404
    assert client.post(f"{BATCHES}/{made}/cancel", headers=other).status_code == 404
    assert client.get(BATCHES, headers=other).json["data"] == []
    body = {"input_file_id": file, "endpoint": URL, "completion_window": "24h"}
    assert client.post(BATCHES, json=body, headers=other).json["error"]["param"] == "input_file_id"


@both_databases
def test_old_batches_are_deleted_with_their_lines(
    client: ApiClient, app: App, loader: BatchLoader, database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("limner_dispatcher.retention.ROWS", 2)
    old, kept = (create(client, *[request_line(str(n)) for n in range(5)]) for _ in range(2))
    for _ in range(2):
        loader.load_next()
        sweep(app)
    client.post(f"{BATCHES}/{old}/cancel")
    assert loader.finish_next()
    change(app, old, ended_at=1)
    cleaner = Cleaner(database, app.extensions["limner"].blobs)
    while cleaner.is_due:
        cleaner.clean()
    assert client.get(f"{BATCHES}/{old}").status_code == 404
    assert batch(client, kept)["status"] == "in_progress"
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(BatchLine)) == 5
