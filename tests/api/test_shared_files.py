"""Uploaded files have one home: every door lists, uses and deletes the same ones, and one quota and retention apply."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update

from limner_dispatcher.retention import Retention
from limner_shared.db.accounts import tenants
from limner_shared.db.engine import Database
from limner_shared.db.file_tables import StoredFile
from limner_web.intake import uploads
from tests.api.clients import Answer, ApiClient, App
from tests.api.fake_worker import png
from tests.api.test_bulks import rows
from tests.api.test_openai_files import FILES, parts
from tests.api.test_openai_files import upload as to_openai
from tests.api.test_replicate import upload as to_replicate
from tests.models import CANVAS
from tests.redis_clients import redis_at

REPLICATE = "/replicate/v1/files"
LOCAL = "local"


def body(answer: Answer) -> Any:
    """The JSON of an answer."""
    return answer.json


@pytest.fixture
def canvas(make_app: Callable[..., App]) -> App:
    return make_app(models=(CANVAS,), default_model="canvas")


def test_a_file_of_either_door_is_listed_used_and_deleted_by_the_other(canvas: App, redis_url: str) -> None:
    client = canvas.test_client()
    first, second = body(to_replicate(client))["id"], body(to_openai(client, png("blue")))["id"]
    with redis_at(redis_url) as redis:
        redis.flushall()  # no file depends on Redis
    listed = body(client.get(REPLICATE))["results"]
    assert [file["id"] for file in listed] == [second, first]
    assert [file["id"] for file in body(client.get(FILES))["data"]] == [second, first]
    assert client.get(f"{FILES}/{first}/content").data == png("red")
    assert [file["checksums"]["sha256"] for file in listed] == [
        hashlib.sha256(png(colour)).hexdigest() for colour in ("blue", "red")
    ]
    edit = {"prompt": "x", "images": [{"file_id": first}], "stream": True}
    with client.post("/v1/images/edits", json=edit) as answer:
        assert answer.status_code == 200
    start = {"input": {"prompt": "x", "image": listed[0]["urls"]["get"]}}
    assert client.post("/replicate/v1/models/limner/canvas/predictions", json=start).status_code == 201
    assert client.delete(f"{FILES}/{first}").status_code == 200
    assert client.delete(f"{REPLICATE}/{second}").status_code == 204
    assert (rows(canvas, StoredFile), parts(canvas)) == (0, [])


def test_a_file_too_large_for_a_picture_is_no_input(canvas: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_IMAGE_BYTES", 10)
    client = canvas.test_client()
    url = body(to_replicate(client))["urls"]["get"]
    answer = client.post(
        "/replicate/v1/models/limner/canvas/predictions", json={"input": {"prompt": "x", "image": url}}
    )
    assert (answer.status_code, body(answer)["field"]) == (422, "image")


def test_an_upload_over_the_tenants_quota_is_refused_at_each_door_and_leaves_no_bytes(
    make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(max_file_bytes=2000)
    client = app.test_client()
    kept = body(to_openai(client, bytes(1500)))["id"]
    for answer in (to_openai(client, bytes(501)), to_replicate(client, bytes(501))):
        assert answer.status_code == 429, answer.text
        assert int(answer.headers["Retry-After"]) > 120  # clients do not repeat the upload
    assert len(parts(app)) == rows(app, StoredFile) == 1
    assert to_replicate(client, bytes(500)).status_code == 201
    assert to_openai(client, b"").status_code == 429  # nothing is left
    assert client.delete(f"{FILES}/{kept}").status_code == 200
    monkeypatch.setattr(uploads, "MAX_FILES", 1)
    refused = to_replicate(client, b"x")
    assert (refused.status_code, body(refused)["limit"]) == (429, "files")


def test_the_quota_is_checked_again_when_the_upload_is_complete(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_FILES", 1)
    client: ApiClient = app.test_client()
    read: Callable[..., object] = getattr(uploads, "_room")  # noqa: B009
    late = iter([True])

    def overtaken(*arguments: object) -> object:
        left = read(*arguments)
        if next(late, False):
            assert to_replicate(client, b"the other").status_code == 201
        return left

    monkeypatch.setattr(uploads, "_room", overtaken)
    assert to_openai(client).status_code == 429
    assert len(parts(app)) == rows(app, StoredFile) == 1


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
def test_a_file_is_kept_no_longer_than_its_tenants_pictures_prompts_and_jobs(
    client: ApiClient, app: App, database: Database
) -> None:
    first = body(to_openai(client))
    assert first["expires_at"] - first["created_at"] == 30 * 86400
    with database.write() as session:
        tenants.change_tenant(session, LOCAL, {"keep_images_days": 2, "keep_prompts_days": 0.5})
    second = body(to_replicate(client))["id"]
    assert body(client.get(f"{FILES}/{second}"))["expires_at"] - first["created_at"] in range(43_199, 43_230)
    with database.write() as session:
        tenants.change_tenant(session, LOCAL, {"keep_images_days": None, "keep_prompts_days": None})
        tenants.change_tenant(session, LOCAL, {"keep_jobs_days": 0})
        old = StoredFile.created_at - 3601
        session.execute(update(StoredFile).where(StoredFile.id == first["id"]).values(created_at=old))
    Retention(database, app.extensions["limner"].blobs, grace_seconds=-1).run()
    assert [file["id"] for file in body(client.get(FILES))["data"]] == [second]


def test_an_upload_waits_for_a_place_at_every_door(make_app: Callable[..., App]) -> None:
    app = make_app(max_bulks=1)
    limiter = app.extensions["limner"].limiter
    held = limiter.acquire("bulks")
    client = app.test_client()
    assert [to_openai(client).status_code, to_replicate(client).status_code] == [503, 503]
    limiter.release(held)
    assert [to_openai(client).status_code, to_replicate(client).status_code] == [200, 201]
