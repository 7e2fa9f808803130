"""Bulks over HTTP: all lines are accepted or none, in constant memory."""

from __future__ import annotations

import io
import json
import tracemalloc
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from limner_dispatcher.repair import STALE_BULK_SECONDS
from limner_shared.db import ledger, release_queries
from limner_shared.db.engine import Database
from limner_shared.db.ledger import LOCAL_TENANT
from limner_shared.db.tables import Bulk, Job
from limner_web.intake import bulk_submission
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start

JSONL = "application/jsonl"
both_databases = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)


def lines(*bodies: object) -> bytes:
    return b"".join(json.dumps(body).encode() + b"\n" for body in bodies)


def post(client: ApiClient, data: bytes, content_type: str = JSONL):
    return client.post("/api/v1/bulks", data=data, content_type=content_type)


def rows(app: App, table: Any) -> int:
    with app.extensions["limner"].database.read() as session:
        return session.scalar(select(func.count()).select_from(table))


@both_databases
def test_bulk_results_come_in_the_order_of_the_lines(client: ApiClient, app: App):
    answer = post(
        client, lines({"prompt": "one"}, {"prompt": "two", "style": "flat"}) + b"\n" + lines({"prompt": "four"})
    )
    assert answer.status_code == 202
    bulk = answer.json
    assert (bulk["status"], bulk["total"], bulk["counts"]["queued"]) == ("running", 3, 3)
    results = [json.loads(line) for line in client.get(bulk["links"]["results"]).text.splitlines()]
    assert [(job["line"], job["prompt"], job["priority"]) for job in results] == [
        (1, "one", "low"),
        (2, "two", "low"),
        (4, "four", "low"),
    ]
    for job in results:
        finish(app, start(app, job["id"]), png("red"))
    assert client.get(bulk["links"]["self"]).json["status"] == "done"
    done = [json.loads(line) for line in client.get(bulk["links"]["results"]).text.splitlines()]
    assert all(client.get(job["images"][0]["url"]).status_code == 200 for job in done)
    assert len(client.get(f"/api/v1/jobs?bulk={bulk['id']}").json["items"]) == 3


@both_databases
def test_lines_can_be_scheduled_and_choose_their_retries(client: ApiClient, app: App):
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    bulk = post(client, lines({"prompt": "now"}, {"prompt": "later", "not_before": later, "max_retries": 2})).json
    now, scheduled = [json.loads(line) for line in client.get(bulk["links"]["results"]).text.splitlines()]
    assert (now["not_before"], now["max_retries"]) == (None, 5)
    assert datetime.fromisoformat(scheduled["not_before"]) == datetime.fromisoformat(later)
    assert scheduled["max_retries"] == 2
    with app.extensions["limner"].database.read() as session:
        assert [
            job.id for job in release_queries.waiting_jobs(session, now["model"], 2, LOCAL_TENANT, bulk["id"], "", 9)
        ] == [now["id"]]
    canceled = client.post(bulk["links"]["cancel"]).json
    assert (canceled["status"], canceled["counts"]["canceled"]) == ("canceled", 2)


def test_a_line_with_a_time_too_far_ahead_is_refused(client: ApiClient):
    far = (datetime.now(UTC) + timedelta(days=31)).isoformat()
    answer = post(client, lines({"prompt": "x", "not_before": far}, {"prompt": "x", "max_retries": 99}))
    assert [(error["line"], error["field"]) for error in answer.json["errors"]] == [
        (1, "not_before"),
        (2, "max_retries"),
    ]


def test_a_byte_order_mark_and_ends_of_lines_as_windows_has_them_are_read(client: ApiClient, app: App):
    """As PowerShell and some editors write a text in UTF-8."""
    answer = post(client, b"\xef\xbb\xbf" + lines({"prompt": "one"}, {"prompt": "two"}).replace(b"\n", b"\r\n"))
    assert (answer.status_code, rows(app, Job)) == (202, 2), answer.text
    refused = post(client, lines({"prompt": "one"}) + b"\xef\xbb\xbf" + lines({"prompt": "two"}))
    assert (refused.status_code, refused.json["errors"][0]["line"]) == (422, 2)


def test_errors_name_the_invalid_lines_and_nothing_is_queued(client: ApiClient, app: App):
    data = lines({"prompt": "fine"}, {"prompt": ""}) + b"not json\n" + lines(["x"], {"prompt": "x", "steps": 999})
    answer = post(client, data)
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_bulk")
    assert [(error["line"], error["field"]) for error in answer.json["errors"]] == [
        (2, "prompt"),
        (3, None),
        (4, None),
        (5, "steps"),
    ]
    assert rows(app, Job) == rows(app, Bulk) == 0


def test_the_error_lists_the_first_hundred_invalid_lines_and_their_total(client: ApiClient, app: App):
    answer = post(client, lines({"prompt": "fine"}) * 3 + lines({"prompt": "x" * 501}) * 250)
    assert (answer.status_code, answer.json["bad_lines"], len(answer.json["errors"])) == (422, 250, 100)
    assert "250 lines of 253" in answer.json["detail"]
    assert rows(app, Job) == 0


@both_databases
def test_on_error_skip_skips_invalid_lines_and_the_bulk_lists_them(client: ApiClient, app: App):
    data = lines({"prompt": "one"}, {"prompt": "x" * 501}) + b"not json\n" + b"[" * 70_000 + b"\n"
    data += lines({"prompt": "\x00"}, {"prompt": "six"})
    headers = {"Idempotency-Key": "k"}
    url = "/api/v1/bulks?on_error=skip"
    bulk = client.post(url, data=data, content_type=JSONL, headers=headers).json
    assert (bulk["status"], bulk["total"], bulk["counts"]["queued"]) == ("running", 2, 2)
    assert bulk["skipped"]["count"] == 4
    assert [(error["line"], error["field"]) for error in bulk["skipped"]["errors"]] == [
        (2, "prompt"),
        (3, None),
        (4, None),
        (5, "prompt"),
    ]
    results = [json.loads(line) for line in client.get(bulk["links"]["results"]).text.splitlines()]
    assert [(job["line"], job["prompt"]) for job in results] == [(1, "one"), (6, "six")]
    assert client.get(bulk["links"]["self"]).json["skipped"] == bulk["skipped"]
    assert client.post(url, data=data, content_type=JSONL, headers=headers).json["id"] == bulk["id"]


def test_a_bulk_without_a_valid_line_is_refused_even_with_on_error_skip(client: ApiClient, app: App):
    answer = client.post("/api/v1/bulks?on_error=skip", data=lines({}, {}), content_type=JSONL)
    assert (answer.status_code, answer.json["bad_lines"]) == (422, 2)
    assert rows(app, Bulk) == 0
    assert client.post("/api/v1/bulks?on_error=guess", data=lines({}), content_type=JSONL).status_code == 422


class SlowUpload(io.BytesIO):
    """A body of which each 64 KiB take half of the time after which the dispatcher drops a bulk that does not grow."""

    def __init__(self, data: bytes, database: Database) -> None:
        super().__init__(data)
        self._database = database

    def readinto(self, buffer: Any) -> int:
        with self._database.write() as session:
            session.execute(update(Bulk).values(touched_at=Bulk.touched_at - (STALE_BULK_SECONDS / 2 + 1)))
            for bulk_id in ledger.stale_bulks(session, STALE_BULK_SECONDS):
                ledger.drop_bulk(session, bulk_id)
        return super().readinto(buffer)


class CanceledUpload(io.BytesIO):
    """A body whose bulk is canceled before its last 64 KiB are read."""

    def __init__(self, data: bytes, database: Database) -> None:
        super().__init__(data)
        self._database = database

    def readinto(self, buffer: Any) -> int:
        with self._database.write() as session:
            for bulk_id in session.scalars(select(Bulk.id)) if self.tell() else ():
                ledger.cancel_bulk(session, bulk_id)
                ledger.sweep_bulk(session, bulk_id, 100)
        return super().readinto(buffer)


def test_a_bulk_that_is_canceled_while_it_loads_counts_only_lines_that_made_jobs(
    client: ApiClient, database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bulk_submission, "CHUNK", 1)
    bad, twin = {"prompt": "x" * 501}, {"prompt": "one", "unique": {"key": "the same"}}
    data = lines(twin, bad, twin, {"prompt": "two"}) + b"\n" * 70_000 + lines({"prompt": "three"})
    answer = client.post("/api/v1/bulks?on_error=skip", input_stream=CanceledUpload(data, database), content_type=JSONL)
    assert answer.json["code"] == "invalid_bulk", answer.json
    [bulk] = client.get("/api/v1/bulks").json["items"]
    counts = bulk["counts"]
    assert (bulk["status"], bulk["total"], counts["canceled"], counts["queued"]) == ("canceled", 2, 2, 0)


def test_a_slow_upload_whose_lines_are_all_skipped_for_a_while_is_not_dropped(
    client: ApiClient, database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bulk_submission, "CHUNK_SECONDS", 0.0)
    data = lines({"prompt": "x" * 501}) * 600 + b"\n" * 100_000 + lines({"prompt": "the last"})
    body = SlowUpload(data, database)
    answer = client.post("/api/v1/bulks?on_error=skip", input_stream=body, content_type=JSONL)
    assert answer.status_code == 202, answer.json
    assert (answer.json["total"], answer.json["skipped"]["count"]) == (1, 600)


@pytest.mark.parametrize(
    ("data", "content_type", "status", "code"),
    [
        (b"", JSONL, 422, "invalid_bulk"),
        (b"\n\n", JSONL, 422, "invalid_bulk"),
        (b'{"prompt": "' + b"x" * 70_000, JSONL, 422, "invalid_bulk"),
        (b'{"prompt": "' + b"x" * 300_000 + b'"}\n{}', JSONL, 422, "invalid_bulk"),
        (b'{"prompt": "x"}\n', "application/json", 415, "unsupported_media_type"),
    ],
)
def test_an_unreadable_bulk_is_refused(client: ApiClient, data: bytes, content_type: Any, status: int, code: str):
    answer = post(client, data, content_type)
    assert (answer.status_code, answer.json["code"]) == (status, code)


@both_databases
def test_a_bulk_that_fails_while_it_is_stored_creates_nothing(
    client: ApiClient, app: App, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bulk_submission, "CHUNK", 2)
    calls = iter([True, False])
    submit = ledger.submit

    def fail_second_call(*args: Any, **kwargs: Any):
        if next(calls):
            return submit(*args, **kwargs)
        raise RuntimeError("the second chunk failed")

    monkeypatch.setattr(ledger, "submit", fail_second_call)
    assert post(client, lines(*[{"prompt": "x"}] * 5)).status_code == 500
    assert rows(app, Job) == rows(app, Bulk) == 0


def test_canceling_a_bulk_cancels_its_unfinished_jobs(client: ApiClient, app: App):
    bulk = post(client, lines(*[{"prompt": "x"}] * 3)).json
    first = json.loads(client.get(bulk["links"]["results"]).text.splitlines()[0])
    finish(app, start(app, first["id"]), png("red"))
    canceled = client.post(bulk["links"]["cancel"]).json
    assert canceled["status"] == "canceled"
    assert (canceled["counts"]["canceled"], canceled["counts"]["succeeded"]) == (2, 1)


@pytest.mark.long
def test_memory_use_does_not_grow_with_the_size_of_a_bulk(client: ApiClient):
    def peak(count: int) -> int:
        data = lines({"prompt": "a red apple", "metadata": {"k": "v" * 200}}) * count
        tracemalloc.start()
        assert post(client, data).status_code == 202
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    peak(600)
    assert peak(6000) < 2 * peak(1000)


def test_bulks_are_listed_newest_first_in_pages(client: ApiClient):
    ids = [post(client, lines({"prompt": f"cat {number}"})).json["id"] for number in range(3)]
    page = client.get("/api/v1/bulks?limit=2").json
    assert [item["id"] for item in page["items"]] == ids[:0:-1]
    rest = client.get("/api/v1/bulks", query_string={"limit": 2, "cursor": page["next"]}).json
    assert ([item["id"] for item in rest["items"]], rest["next"]) == (ids[:1], None)
