"""Files: uploaded in parts, listed, read, deleted and expired; of its tenant only, and nothing left behind."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from sqlalchemy import update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from limner_dispatcher.retention import Retention
from limner_shared.db.engine import Database
from limner_shared.db.file_tables import StoredFile
from limner_shared.errors import NotFound
from limner_web.intake import uploads
from tests.api.clients import ApiClient, App
from tests.api.test_bulks import both_databases, rows
from tests.api.test_keys import make_key
from tests.api.test_openai_edits import RED, stored
from tests.models import CANVAS
from tests.processes import Service

FILES = "/v1/files"


def upload(client: ApiClient, data: bytes = b"hello", count: int | None = None, **fields: str):
    form = {"purpose": "vision", "file": (io.BytesIO(data), "a.bin")} | fields
    headers = {} if count is None else {"X-Stainless-Retry-Count": str(count)}
    return client.post(FILES, data=form, content_type="multipart/form-data", headers=headers)


def parts(app: App) -> list[Path]:
    return sorted((app.extensions["limner"].blobs.folder / "files").glob("*"))


def test_the_official_client_uploads_lists_reads_and_deletes_files(server: Service):
    url = f"http://127.0.0.1:{server.settings.port}/v1"
    data = os.urandom(uploads.PART_BYTES * 2 + 5)
    with openai.OpenAI(base_url=url, api_key="unused", max_retries=0) as client:
        first = client.files.create(file=("boat.png", data), purpose="vision")
        assert (first.filename, first.bytes, first.purpose, first.status) == (
            "boat.png",
            len(data),
            "vision",
            "processed",
        )
        assert client.files.content(first.id).read() == data
        expiry: Any = {"anchor": "created_at", "seconds": 3600}
        second = client.files.create(file=b"x", purpose="user_data", expires_after=expiry)
        assert second.expires_at - second.created_at == 3600
        assert [file.id for file in client.files.list(limit=1)] == [second.id, first.id]  # the client reads all pages
        assert [file.id for file in client.files.list(order="asc")] == [first.id, second.id]
        assert [file.id for file in client.files.list(purpose="vision")] == [first.id]
        assert client.files.retrieve(second.id) == second
        assert client.files.delete(first.id).deleted
        with pytest.raises(openai.NotFoundError):
            client.files.content(first.id)
        with pytest.raises(openai.UnprocessableEntityError, match="purpose"):
            client.files.create(file=b"x", purpose="fine-tune")


def test_a_deleted_file_leaves_no_bytes(client: ApiClient, app: App, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(uploads, "PART_BYTES", 1000)
    file = upload(client, bytes(1001)).json["id"]
    assert [part.name for part in parts(app)] == [f"{file}.0", f"{file}.1"]
    assert client.delete(f"{FILES}/{file}").json["deleted"]
    assert parts(app) == []
    assert client.delete(f"{FILES}/{file}").status_code == 404


def test_a_file_whose_first_bytes_cannot_be_read_is_answered_with_an_error_and_a_later_one_cut_off(
    client: ApiClient, app: App, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(uploads, "PART_BYTES", 4)
    content = f"{FILES}/{upload(client, b'123456789').get_json()['id']}/content"
    assert client.get(content).data == b"123456789"
    first, second, _ = parts(app)
    second.unlink()
    with pytest.raises(NotFound):
        client.get(content, buffered=True)
    first.unlink()
    answer = client.get(content)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (404, "not_found")


@both_databases
def test_a_repeated_upload_returns_the_first_file_and_another_first_try_a_new_one(client: ApiClient, app: App):
    first = upload(client, count=0).json["id"]
    assert upload(client, count=1).json["id"] == first
    assert upload(client, b"other", count=1).json["id"] != first
    assert upload(client, count=0).json["id"] != first
    assert len(parts(app)) == rows(app, StoredFile) == 3


def test_an_upload_whose_commit_is_not_answered_keeps_its_bytes_for_the_retry(
    client: ApiClient, app: App, monkeypatch: pytest.MonkeyPatch
):
    write = Database.write

    @contextmanager
    def unanswered(database: Database) -> Iterator[Session]:
        with write(database) as session:
            yield session
        raise OperationalError("COMMIT", {}, OSError("server closed the connection"))

    monkeypatch.setattr(Database, "write", unanswered)
    assert upload(client, b"kept", count=0).status_code == 503
    monkeypatch.undo()
    file = upload(client, b"kept", count=1).json["id"]
    assert client.get(f"{FILES}/{file}/content").data == b"kept"
    assert len(parts(app)) == rows(app, StoredFile) == 1


def test_another_tenants_file_is_not_found(make_app: Callable[..., App], database: Database):
    client = make_app(require_keys=True).test_client()
    mine, other = make_key(database, "mine"), make_key(database, "other")
    form = {"purpose": "vision", "file": (io.BytesIO(b"x"), "a")}
    file = client.post(FILES, data=form, content_type="multipart/form-data", headers=mine).json["id"]
    for path in (f"{FILES}/{file}", f"{FILES}/{file}/content"):
        assert client.get(path, headers=mine).status_code == 200
        assert client.get(path, headers=other).status_code == 404
    assert client.get(FILES, headers=other).json["data"] == []
    assert client.delete(f"{FILES}/{file}", headers=other).status_code == 404


@both_databases
def test_an_expired_file_is_not_found_and_its_bytes_are_deleted_later(
    client: ApiClient, app: App, database: Database, monkeypatch: pytest.MonkeyPatch
):
    file = upload(client).json["id"]
    upload(client, b"kept")
    with database.write() as session:
        session.execute(update(StoredFile).where(StoredFile.id == file).values(expires_at=1))
    assert client.get(f"{FILES}/{file}").status_code == 404
    assert len(client.get(FILES).json["data"]) == 1
    monkeypatch.setattr("limner_dispatcher.retention.UPLOAD_SECONDS", -1)
    Retention(database, app.extensions["limner"].blobs, grace_seconds=-1).run()
    assert (rows(app, StoredFile), len(parts(app))) == (1, 1)


def test_what_is_not_an_upload_is_refused_by_name_and_leaves_no_bytes(make_app: Callable[..., App]):
    app = make_app(max_bulk_bytes=1024, max_body_bytes=1024)
    client = app.test_client()
    assert upload(client, bytes(1500)).json["error"]["code"] == "body_too_large"
    assert upload(client, bytes(9000)).json["error"]["code"] == "body_too_large"
    assert client.post(FILES, json={"purpose": "vision"}).status_code == 415
    for fields, param in (
        ({"purpose": "assistants"}, "purpose"),
        ({"other": "x"}, "other"),
        ({"expires_after[seconds]": "5"}, "expires_after[seconds]"),
        ({"file": "text"}, "file"),
    ):
        answer = upload(client, **dict[str, Any](fields))
        assert (answer.status_code, answer.json["error"]["param"]) == (422, param)
    assert not parts(app)
    for query in ("limit=0", "limit=x", "order=up", "page=2"):
        assert client.get(f"{FILES}?{query}").status_code == 422


def test_an_edit_starts_from_an_uploaded_file(make_app: Callable[..., App]):
    app = make_app(models=(CANVAS,), default_model="canvas")
    client = app.test_client()
    file = upload(client, RED).json["id"]
    body = {"prompt": "a boat", "images": [{"file_id": file}], "stream": True}
    with client.post("/v1/images/edits", json=body) as answer:
        assert answer.status_code == 200
    [job] = client.get("/api/v1/jobs").json["items"]
    assert stored(app, job["image"]).getpixel((3, 3)) == (255, 0, 0)
    missing = client.post("/v1/images/edits", json=body | {"images": [{"file_id": "file_none"}]})
    assert (missing.status_code, missing.json["error"]["param"]) == (422, "image")
