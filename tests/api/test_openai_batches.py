"""Batches in the OpenAI API: creation, answers, cancellation, expiry and deletion."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from flask import Flask
from sqlalchemy import func, select

from limner_dispatcher.retention import Retention
from limner_shared.db import ledger
from limner_shared.db.batch_tables import Batch, BatchLine
from limner_shared.db.engine import Database, now
from limner_shared.db.file_tables import StoredFile
from limner_shared.db.ledger import Result
from limner_shared.db.tables import Image, Job
from limner_shared.domain.batches import BatchState
from limner_shared.errors import GenerationFailed, Overloaded
from limner_web.app import create_app
from limner_web.intake import busy
from limner_web.openai import batch_output
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
from tests.api.fake_worker import finish, png, start
from tests.api.test_bulks import both_databases, rows
from tests.api.test_keys import make_key
from tests.api.test_retention import WORD, set_retention, tables_with_word
from tests.processes import Service, eventually

__all__ = ["events", "loader"]


def output(client: ApiClient, file_id: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in client.get(f"/v1/files/{file_id}/content").data.splitlines()]


def job_ids(app: Flask) -> list[str]:
    with app.extensions["limner"].database.read() as session:
        return list(session.scalars(select(Job.id).order_by(Job.bulk_line)))


def fail(app: Flask, job_id: str) -> None:
    claim = start(app, job_id)
    with app.extensions["limner"].database.write() as session:
        ledger.fail(session, Result(claim.id, claim.attempt, error=GenerationFailed()))


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


def test_a_page_of_the_list_leads_to_the_next(client: ApiClient, app: App):
    made = [create(client, request_line("a")) for _ in range(3)][::-1]
    page = client.get(f"{BATCHES}?limit=2").json
    assert ([each["id"] for each in page["data"]], page["has_more"]) == (made[:2], True)
    last = client.get(f"{BATCHES}?limit=2&after={page['last_id']}").json
    assert ([each["id"] for each in last["data"]], last["has_more"]) == (made[2:], False)
    assert client.get(f"{BATCHES}?limit=0").status_code == 422


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


def test_a_busy_process_measures_each_picture_of_an_output_once(
    client: ApiClient, app: App, loader: BatchLoader, monkeypatch: pytest.MonkeyPatch
):
    made = create(client, *[request_line(str(number), output_format="jpeg") for number in range(2)])
    loader.load_next()
    for job_id in job_ids(app):
        finish(app, start(app, job_id), png("red"))
    measured, encode = list[str](), batch_output.encoded

    def encode_or_refuse(services: Any, tenant_id: str, output: Any, image: Any) -> str:
        measured.append(image.id)
        if len(measured) == 2:
            raise Overloaded
        return encode(services, tenant_id, output, image)

    monkeypatch.setattr(busy, "BUSY_SECONDS", 0)
    monkeypatch.setattr(batch_output, "encoded", encode_or_refuse)
    loader.finish_next()
    assert batch(client, made)["status"] == "completed"
    assert (len(measured), measured[1]) == (3, measured[2])


def test_a_batch_whose_output_cannot_be_made_fails_with_its_counts(
    client: ApiClient, app: App, loader: BatchLoader, monkeypatch: pytest.MonkeyPatch
):
    made = create(client, request_line("a"))
    loader.load_next()
    finish(app, start(app, job_ids(app)[0]), png("red"))

    def breaks(*_arguments: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr(batch_output, "measure", breaks)
    assert loader.finish_next()
    found = batch(client, made)
    assert (found["status"], found["errors"]["data"][0]["code"]) == ("failed", "internal_error")
    assert found["request_counts"] == {"total": 1, "completed": 1, "failed": 0}


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
    retention = Retention(database, app.extensions["limner"].blobs)
    while retention.is_due:
        retention.run()
    assert client.get(f"{BATCHES}/{old}").status_code == 404
    assert batch(client, kept)["status"] == "in_progress"
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(BatchLine)) == 5


@both_databases
@pytest.mark.parametrize("days", ["keep_jobs_days", "keep_prompts_days", "keep_images_days"])
def test_nothing_that_a_client_wrote_in_a_batch_is_kept_longer_than_its_tenant_keeps_files(
    client: ApiClient, app: App, loader: BatchLoader, database: Database, days: str
):
    old, kept = (create(client, request_line(WORD), metadata={"for": WORD}) for _ in range(2))
    for _ in range(2):
        loader.load_next()
    for job in client.get("/api/v1/jobs").json["items"]:
        finish(app, start(app, job["id"]), png("red"))
    loader._close_due()
    while loader.finish_next():
        pass
    file = batch(client, old)["output_file_id"]
    assert client.get(f"/v1/files/{file}/content").status_code == 200
    set_retention(database, **{days: 0})
    change(app, old, ended_at=now() - 3601)
    Retention(database, app.extensions["limner"].blobs).run()
    assert batch(client, kept)["metadata"] == {"for": WORD}, "a client has an hour to read what a batch made"
    assert client.get(f"{BATCHES}/{old}").status_code == client.get(f"/v1/files/{file}").status_code == 404
    change(app, kept, ended_at=now() - 3601)
    Retention(database, app.extensions["limner"].blobs).run()
    assert not tables_with_word(database) & {"batches", "batch_lines"}
