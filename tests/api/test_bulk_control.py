"""Reading, pausing, resuming and canceling a bulk, and its results as a ZIP file."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select, update

from limner_shared.db import ledger, queries
from limner_shared.db.engine import Database
from limner_shared.db.tables import Bulk, Job
from limner_shared.errors import Overloaded, StorageFailed
from limner_web.api import bulks
from limner_web.intake import bulk_submission, busy
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_bulks import JSONL, both_databases, lines, post, rows

KEY = {"Idempotency-Key": "mine"}


def bulk_jobs(client: ApiClient, bulk: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in client.get(bulk["links"]["results"]).text.splitlines()]


def test_a_bulk_can_be_paused_and_resumed_until_it_is_canceled(client: ApiClient):
    bulk = post(client, lines(*[{"prompt": "x"}] * 3)).json
    assert client.post(bulk["links"]["pause"]).json["status"] == "paused"
    assert client.post(bulk["links"]["pause"]).json["status"] == "paused"
    assert client.post(bulk["links"]["resume"]).json["status"] == "running"
    client.post(bulk["links"]["cancel"])
    refused = client.post(bulk["links"]["pause"])
    assert (refused.status_code, refused.json["code"]) == (409, "invalid_state")


@both_databases
def test_pauses_resumes_cancels_and_ends_of_jobs_at_once_leave_a_canceled_bulk_whose_counts_are_right(
    app: App, database: Database
):
    bulk = post(app.test_client(), lines(*[{"prompt": "x"}] * 12)).json
    with database.write() as session:
        some = ledger.claim(session, [job["id"] for job in bulk_jobs(app.test_client(), bulk)[:6]], "a worker", 60)

    def act(number: int) -> int:
        if number < len(some):
            with database.write() as session:
                ledger.finish(session, [ledger.Result(some[number].id, some[number].attempt)])
            return 200
        action = "cancel" if number == 17 else ("pause", "resume")[number % 2]
        return app.test_client().post(bulk["links"][action]).status_code

    order = list(range(24))
    random.Random(7).shuffle(order)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(act, order)) <= {200, 409}
    with database.write() as session:
        ledger.sweep_bulk(session, bulk["id"], 100)
    with database.read() as session:
        states = Counter(session.scalars(select(Job.state)))
        row = session.scalars(select(Bulk)).one()
    assert (row.state, states.keys() <= {"succeeded", "canceled"}) == ("canceled", True)
    assert (row.succeeded, row.failed, row.canceled) == (states["succeeded"], 0, states["canceled"])


def test_the_zip_contains_the_results_and_each_picture_named_by_its_line(client: ApiClient, app: App):
    bulk = post(client, lines({"prompt": "one"}, {"prompt": "two", "n": 2}, {"prompt": "three"})).json
    one, two, _ = bulk_jobs(client, bulk)
    pictures = {"0000001.png": png("red"), "0000002-1.png": png("green"), "0000002-2.png": png("blue")}
    red, green, blue = pictures.values()
    finish(app, start(app, one["id"]), red)
    finish(app, start(app, two["id"]), green, blue)
    answer = client.get(f"{bulk['links']['results']}?format=zip")
    assert answer.mimetype == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist() if name.endswith(".png")} == pictures
        results = [json.loads(line) for line in archive.read("results.jsonl").splitlines()]
    assert [job["status"] for job in results] == ["succeeded", "succeeded", "queued"]


def entries(client: ApiClient, bulk: dict[str, Any]) -> tuple[set[str], list[str]]:
    """The names of the pictures in a bulk's ZIP file, and the states of the jobs in its results."""
    answer = client.get(f"{bulk['links']['results']}?format=zip")
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        results = [json.loads(line)["status"] for line in archive.read("results.jsonl").splitlines()]
        return {name for name in archive.namelist() if name.endswith(".png")}, results


@pytest.mark.parametrize("form", ["jsonl", "zip"])
def test_an_export_that_its_client_has_given_up_reads_no_further_page(
    client: ApiClient, app: App, monkeypatch: pytest.MonkeyPatch, form: str
):
    bulk = post(client, lines(*[{"prompt": "x"}] * 10)).json
    looks = iter([False, False, True])
    pages: list[int] = []

    def read(session: Any, bulk_id: str, after: int, limit: int) -> Any:
        pages.append(after)
        return bulk_page(session, bulk_id, after, limit)

    bulk_page = queries.bulk_jobs
    monkeypatch.setattr(queries, "bulk_jobs", read)
    monkeypatch.setattr(bulks, "hang_up_check", lambda: lambda: next(looks))
    monkeypatch.setattr(bulks, "RESULTS_PAGE", 2)
    assert client.get(f"{bulk['links']['results']}?format={form}").data
    assert pages == [0, 2]


def test_a_zip_is_not_cut_off_by_a_moment_in_which_the_process_is_busy_or_the_store_fails(
    client: ApiClient, app: App, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(busy, "BUSY_SECONDS", 0.0)
    bulk = post(client, lines(*[{"prompt": "x"}] * 2)).json
    for job in bulk_jobs(client, bulk):
        finish(app, start(app, job["id"]), png("red"))
    blobs = app.extensions["limner"].blobs
    faults, get = iter([Overloaded(), None, StorageFailed(), Overloaded()]), blobs.get

    def sometimes(digest: str) -> bytes:
        if fault := next(faults, None):
            raise fault
        return get(digest)

    monkeypatch.setattr(blobs, "get", sometimes)
    assert entries(client, bulk) == ({"0000001.png", "0000002.png"}, ["succeeded"] * 2)
    assert next(faults, "all were met") == "all were met"


def test_the_results_in_a_zip_name_no_picture_that_was_drawn_while_it_was_sent(
    client: ApiClient, app: App, monkeypatch: pytest.MonkeyPatch
):
    bulk = post(client, lines(*[{"prompt": "x"}] * 2)).json
    first, second = (start(app, job["id"]) for job in bulk_jobs(client, bulk))
    finish(app, first, png("red"))
    blobs = app.extensions["limner"].blobs
    get = blobs.get

    def meanwhile(digest: str) -> bytes:
        finish(app, second, png("blue"))
        return get(digest)

    monkeypatch.setattr(blobs, "get", meanwhile)
    assert entries(client, bulk) == ({"0000001.png"}, ["succeeded", "running"])


def test_the_zip_is_streamed(client: ApiClient, app: App):
    bulk = post(client, lines(*[{"prompt": "x"}] * 3)).json
    for job in bulk_jobs(client, bulk):
        finish(app, start(app, job["id"]), png("red"))
    answer = client.get(f"{bulk['links']['results']}?format=zip", buffered=False)
    parts = [len(part) for part in answer.iter_encoded()]
    assert len([size for size in parts if size]) > 3


def stream_to(client: ApiClient, body: io.RawIOBase, length: int):
    """Send a bulk from a stream, as a server passes it to the application; `length` is its Content-Length in bytes."""
    environ = {"wsgi.input": body, "CONTENT_LENGTH": str(length)}
    return client.post("/api/v1/bulks", content_type=JSONL, headers=KEY, environ_overrides=environ)


class TruncatedBody(io.RawIOBase):
    """A body that ends early, as after a lost connection."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readinto(self, buffer: Any) -> int:
        return self._data.readinto(buffer)


def test_a_truncated_bulk_creates_nothing(client: ApiClient, app: App, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bulk_submission, "CHUNK", 2)
    data = lines(*[{"prompt": "x"}] * 9)
    stream = TruncatedBody(data[: len(data) // 2])
    answer = stream_to(client, stream, len(data))
    assert 400 <= answer.status_code < 500
    assert rows(app, Job) == rows(app, Bulk) == 0
    assert client.post("/api/v1/bulks", data=data, content_type=JSONL, headers=KEY).status_code == 202
    assert rows(app, Job) == 9


def parts_with_requests_between(client: ApiClient, seen: list[dict[str, Any]]) -> Iterator[bytes]:
    yield lines(*[{"prompt": "x"}] * 4)
    seen.append(client.get("/api/v1/bulks").json["items"][0])
    seen.append(client.post("/api/v1/bulks", data=b"", content_type=JSONL, headers=KEY).json)
    yield lines({"prompt": "x"})


class ConcurrentBody(io.RawIOBase):
    """A body whose parts come from an iterator, which can send other requests while this one is read."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts

    def readinto(self, buffer: Any) -> int:
        part = next(self._parts, b"")
        buffer[: len(part)] = part
        return len(part)


def test_a_bulk_is_listed_while_it_is_read_and_a_repeated_request_gets_a_conflict(
    app: App, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bulk_submission, "CHUNK", 2)
    client, onlooker = app.test_client(), app.test_client()
    seen: list[dict[str, Any]] = []
    data = lines(*[{"prompt": "x"}] * 5)
    bulk = stream_to(client, ConcurrentBody(parts_with_requests_between(onlooker, seen)), len(data)).json
    loading, repeat = seen
    assert (loading["id"], loading["status"], loading["total"]) == (bulk["id"], "loading", 4)
    assert (repeat["status"], repeat["code"]) == (409, "bulk_loading")
    assert (bulk["status"], bulk["total"]) == ("running", 5)


def test_a_repeated_request_restarts_a_bulk_that_was_abandoned_while_it_was_read(
    client: ApiClient, app: App, database: Database
):
    with database.write() as session:
        left = ledger.open_bulk(session, ledger.LOCAL_TENANT)
        ledger.store_idempotency_key(
            session, ledger.LOCAL_TENANT, "mine", bulk_submission.LOADING, ledger.EarlierResult(left)
        )
        session.execute(update(Bulk).values(touched_at=Bulk.touched_at - 60))
    bulk = client.post("/api/v1/bulks", data=lines({"prompt": "x"}), content_type=JSONL, headers=KEY)
    assert bulk.status_code == 202
    assert bulk.json["id"] != left
    assert [view["id"] for view in client.get("/api/v1/bulks").json["items"]] == [bulk.json["id"]]
