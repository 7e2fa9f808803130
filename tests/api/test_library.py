"""Clients delete their jobs and images, mark favourites and set tags."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import select, update

from limner_shared.db import ledger, tags
from limner_shared.db.engine import Database
from limner_shared.db.library_tables import Label
from limner_shared.db.tables import Bulk, Conversation, ConversationTurn, Event, Image, Input, Job, Tenant
from limner_shared.domain.labels import MAX_TAGS
from limner_shared.messaging.hints import JOB_CHANNEL, connect, read_hint
from limner_shared.messaging.typed_redis import subscription
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_input_images import CARD
from tests.api.test_retention import (
    WORD,
    both_databases,
    count,
    files,
    run_retention,
    submit,
    tables_with_word,
    use_all_features,
)


@pytest.fixture
def app(make_app: Callable[..., App], tmp_path: Path):
    """The application with a model that takes input images."""
    card = tmp_path / "painter.toml"
    card.write_text(CARD)
    return make_app(models=(card,), default_model="painter")


def drawn(client: ApiClient, app: App, *pictures: bytes, **request: Any) -> dict[str, Any]:
    job = submit(client, **request)
    finish(app, start(app, job["id"]), *(pictures or (png("red"),)))
    return client.get(job["links"]["self"]).json


@both_databases
def test_nothing_is_left_of_deleted_jobs_but_the_digests_of_their_requests(
    app: App, client: ApiClient, database: Database
):
    for job_id in use_all_features(app, client):
        client.post(f"/api/v1/jobs/{job_id}/cancel")
        client.put(f"/api/v1/jobs/{job_id}/tags/{WORD}")
        assert client.delete(f"/api/v1/jobs/{job_id}").status_code == 204
        assert client.get(f"/api/v1/jobs/{job_id}").status_code == 404
    tables = (Job, Image, Event, ConversationTurn, Conversation, Bulk, Label)
    assert [count(database, table) for table in tables] == [0] * len(tables)
    run_retention(app)
    assert tables_with_word(database) == {"idempotency_keys"}, "the client's own keys, for a day"
    assert count(database, Input) == 0
    assert files(app) == []


@both_databases
def test_a_job_that_has_not_ended_cannot_be_deleted(app: App, client: ApiClient):
    job = submit(client)
    for _ in range(2):
        refused = client.delete(job["links"]["self"])
        assert (refused.status_code, refused.json["code"]) == (409, "invalid_state")
        start(app, job["id"]) if client.get(job["links"]["self"]).json["status"] == "queued" else None
    assert client.get(job["links"]["self"]).json["status"] == "running"


@both_databases
def test_equal_bytes_survive_until_the_last_image_that_has_them_is_deleted(app: App, client: ApiClient):
    first, second = drawn(client, app, png("red")), drawn(client, app, png("red"), png("blue"), n=2)
    assert client.delete(first["links"]["self"]).status_code == 204
    run_retention(app)
    assert client.get(second["images"][0]["url"]).data == png("red")
    assert client.delete(second["images"][0]["url"]).status_code == 204
    run_retention(app)
    assert len(files(app)) == 1
    left = client.get(second["links"]["self"]).json
    assert [image["id"] for image in left["images"]] == [second["images"][1]["id"]]
    assert left["version"] > second["version"]
    assert client.get(second["images"][0]["url"]).status_code == 404
    assert client.delete(second["images"][0]["url"]).status_code == 404
    assert client.post(f"{second['links']['self']}/replay").status_code == 409


@both_databases
def test_a_picture_stored_again_at_the_moment_of_its_deletion_keeps_its_bytes(app: App, client: ApiClient):
    old = drawn(client, app, png("red"))
    assert client.delete(old["links"]["self"]).status_code == 204
    again = submit(client)
    claim = start(app, again["id"])
    digest = app.extensions["limner"].blobs.put(png("red"))  # the worker has stored it, and will commit its row
    run_retention(app)
    finish(app, claim, png("red"))
    run_retention(app)
    assert client.get(client.get(again["links"]["self"]).json["images"][0]["url"]).data == png("red")
    assert digest == old["images"][0]["sha256"]


@both_databases
def test_the_request_of_a_deleted_job_is_gone_when_it_is_repeated(app: App, client: ApiClient):
    job = submit(client, key="k")
    client.post(job["links"]["cancel"])
    assert client.delete(job["links"]["self"]).status_code == 204
    again = client.post("/api/v1/jobs", json={"prompt": f"a {WORD}"}, headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.json["code"]) == (410, "gone")


@both_databases
def test_a_deleted_message_is_removed_from_a_running_job_once_it_has_ended(
    app: App, client: ApiClient, database: Database
):
    talk = client.post("/api/v1/conversations", json={"message": f"a {WORD}"}).json
    first = talk["turns"][0]["job"]["id"]
    finish(app, start(app, first), png("red"))
    later = client.post(talk["links"]["messages"], json={"message": "bluer"}).json["job"]["id"]
    assert client.delete(f"/api/v1/jobs/{first}").status_code == 204
    run_retention(app)
    assert tables_with_word(database) == {"jobs"}
    finish(app, start(app, later), png("blue"))
    run_retention(app)
    assert tables_with_word(database) == set()
    turns = client.get(talk["links"]["self"]).json["turns"]
    assert [turn["job"] and turn["job"]["id"] for turn in turns] == [None, later]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_deletions_of_a_conversation_at_once_do_not_wait_for_each_other_forever(
    app: App, client: ApiClient, database: Database
):
    talk = client.post("/api/v1/conversations", json={"message": "a car"}).json
    ids = [talk["turns"][0]["job"]["id"]]
    ids += [client.post(talk["links"]["messages"], json={"message": "bluer"}).json["job"]["id"] for _ in range(11)]
    for job_id in ids:
        finish(app, start(app, job_id), png("red"))
    begin = threading.Barrier(6)

    def delete(part: list[str]) -> list[int]:
        begin.wait(30)
        return [app.test_client().delete(f"/api/v1/jobs/{job_id}").status_code for job_id in part]

    def forget() -> list[int]:
        with database.write() as session:
            session.execute(update(Tenant).values(keep_jobs_days=0))
        begin.wait(30)
        run_retention(app)
        return []

    with ThreadPoolExecutor(6) as pool:
        parts = [pool.submit(delete, ids[n::2] if n < 2 else ids[::-1][n::2]) for n in range(2)]
        parts += [pool.submit(delete, ids[::-1]) for _ in range(3)] + [pool.submit(forget)]
        answers = {status for part in parts for status in part.result(60)}
    assert answers <= {204, 404}
    assert (count(database, Job), count(database, Conversation)) == (0, 0)


@both_databases
def test_a_deletion_is_announced_to_streams(app: App, client: ApiClient, redis_url: str):
    job = submit(client)
    client.post(job["links"]["cancel"])
    with connect(redis_url, decode_responses=False) as redis, subscription(redis) as pubsub:
        pubsub.subscribe(JOB_CHANNEL)
        pubsub.get_message(timeout=5)
        client.delete(job["links"]["self"])
        heard = read_hint(cast(bytes, (pubsub.get_message(timeout=5) or {})["data"]))
    assert heard is not None
    assert (heard.id, heard.deleted) == (job["id"], True)


@both_databases
def test_favourites_and_tags_are_shown_and_change_the_etag_once(app: App, client: ApiClient, database: Database):
    job = drawn(client, app)
    image = job["images"][0]
    for _ in range(2):
        for path in (job["links"]["self"], image["url"]):
            assert client.put(f"{path}/favourite").status_code == 204
            assert client.put(f"{path}/tags/rouge%20vif").status_code == 204
    marked = client.get(job["links"]["self"]).json
    assert (marked["favourite"], marked["tags"]) == (True, ["rouge vif"])
    assert (marked["images"][0]["favourite"], marked["images"][0]["tags"]) == (True, ["rouge vif"])
    assert marked["version"] == job["version"] + 4
    for _ in range(2):
        assert client.delete(f"{image['url']}/favourite").status_code == 204
        assert client.delete(f"{job['links']['self']}/tags/rouge vif").status_code == 204
    left = client.get("/api/v1/jobs").json["items"][0]
    assert (left["favourite"], left["tags"]) == (True, [])
    assert (left["images"][0]["favourite"], left["images"][0]["tags"]) == (False, ["rouge vif"])
    assert client.delete(image["url"]).status_code == 204
    with database.read() as session:
        assert session.execute(select(Label.label, Label.image_id)).all() == [("", "")]


@both_databases
def test_tags_are_limited_and_equal_in_both_unicode_forms(app: App, client: ApiClient):
    job = submit(client)["links"]["self"]
    assert client.put(f"{job}/tags/caf%C3%A9").status_code == 204
    assert client.put(f"{job}/tags/cafe%CC%81").status_code == 204
    assert client.get(job).json["tags"] == ["café"]
    for bad in ("%20x", "x" * 51, "a%0Ab"):
        refused = client.put(f"{job}/tags/{bad}")
        assert (refused.status_code, refused.json["code"]) == (422, "invalid_request"), bad
    for number in range(MAX_TAGS - 1):
        assert client.put(f"{job}/tags/{number}").status_code == 204
    refused = client.put(f"{job}/tags/one%20more")
    assert (refused.status_code, refused.json["field"]) == (422, "tag")
    assert len(client.get(job).json["tags"]) == MAX_TAGS


def test_tags_are_listed_with_their_newest_picture(app: App, client: ApiClient, database: Database):
    assert client.get("/api/v1/tags").json == {"items": []}
    old, new = drawn(client, app), drawn(client, app)
    for target, tag in (
        (old["links"]["self"], "shop"),
        (new["images"][0]["url"], "shop"),
        (old["images"][0]["url"], "a"),
    ):
        assert client.put(f"{target}/tags/{tag}").status_code == 204
    assert client.put(f"{submit(client)['links']['self']}/tags/empty").status_code == 204
    client.put(f"{old['links']['self']}/favourite")
    found: list[dict[str, Any]] = client.get("/api/v1/tags").json["items"]
    covers = [(each["tag"], each["targets"], each["cover"] and each["cover"]["url"]) for each in found]
    newest, oldest = new["images"][0]["url"], old["images"][0]["url"]
    assert covers == [("empty", 1, None), ("shop", 2, newest), ("a", 1, oldest)]
    with database.write() as session:
        ledger.ensure_tenant(session, "tenant_other", "other")
        session.execute(update(Label).values(tenant_id="tenant_other"))
    assert client.get("/api/v1/tags").json == {"items": []}


@both_databases
def test_a_tag_tells_how_many_pictures_it_has_each_counted_once(
    app: App, client: ApiClient, monkeypatch: pytest.MonkeyPatch
):
    pair, single = drawn(client, app, png("red"), png("blue")), drawn(client, app)

    def counted() -> list[tuple[int, int]]:
        return [(each["targets"], each["images"]) for each in client.get("/api/v1/tags").json["items"]]

    def tag(path: str) -> None:
        assert client.put(f"{path}/tags/shop").status_code == 204

    tag(submit(client)["links"]["self"])
    assert counted() == [(1, 0)]
    tag(pair["images"][1]["url"])
    tag(single["images"][0]["url"])
    assert counted() == [(3, 2)]
    tag(pair["links"]["self"])
    assert counted() == [(4, 3)]
    client.delete(pair["images"][0]["url"])
    assert counted() == [(4, 2)]
    monkeypatch.setattr(tags, "COUNTED_MARKS", 2)  # the job that waits, and the newer of the others
    assert counted() == [(4, 1)]


def test_another_tenant_can_neither_delete_nor_mark(app: App, client: ApiClient, database: Database):
    job = drawn(client, app)
    with database.write() as session:
        ledger.ensure_tenant(session, "tenant_other", "other")
        session.execute(update(Job).values(tenant_id="tenant_other"))
    for path in (job["links"]["self"], job["images"][0]["url"]):
        assert client.delete(path).status_code == 404
        assert client.put(f"{path}/favourite").status_code == 404
        assert client.delete(f"{path}/tags/x").status_code == 404
    assert (count(database, Job), count(database, Image), count(database, Label)) == (1, 1, 0)
