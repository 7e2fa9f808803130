"""Retention deletes expired data from every table, the picture store and Redis, and pollers notice it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Picture
from sqlalchemy import delete, func, inspect, select, text, update

from limner_dispatcher.blob_sweep import BlobSweep
from limner_dispatcher.retention import Retention
from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.db.ledger import NewImage
from limner_shared.db.ledger.retention import USAGE_DAYS
from limner_shared.db.tables import (
    Bulk,
    Conversation,
    ConversationTurn,
    Event,
    IdempotencyKey,
    Image,
    Input,
    Job,
    Tenant,
    Usage,
)
from limner_shared.domain.conditions import Conditions, Interpretation
from limner_shared.storage.blobs import INPUTS
from limner_web.updates import unchanged as unchanged_polls
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_input_images import CARD, data_url
from tests.redis_clients import redis_at

WORD = "xyzzyplugh"
NO_GRACE = -1.0
both_databases = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def app(make_app: Callable[..., App], tmp_path: Path):
    card = tmp_path / "painter.toml"
    card.write_text(CARD)
    return make_app(models=(card,), default_model="painter")


def set_retention(database: Database, **days: float) -> None:
    with database.write() as session:
        session.execute(update(Tenant).values(**days))


def run_retention(app: App) -> None:
    services = app.extensions["limner"]
    Retention(services.database, services.blobs, NO_GRACE).run()
    BlobSweep(services.database, services.blobs, aside_seconds=NO_GRACE).finish_deletions()


def count(database: Database, table: type) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def tables_with_word(database: Database) -> set[str]:
    """The names of the tables that contain the word in any column."""
    tables = inspect(database.engine).get_table_names()
    with database.read() as session:
        rows = {name: session.execute(text(f"SELECT * FROM {name}")).all() for name in tables}  # noqa: S608
    return {name for name, found in rows.items() if any(WORD in str(tuple(row)) for row in found)}


def redis_entries(redis_url: str) -> Iterator[str]:
    with redis_at(redis_url, decode_responses=True) as client:
        for key in client.scan_iter():
            read: dict[Any, Any] = {"string": client.get, "list": partial(client.lrange, start=0, end=-1)}
            yield f"{key} {read.get(client.type(key), str)(key)}"


def files(app: App) -> list[Path]:
    return [file for file in app.extensions["limner"].blobs.folder.rglob("*") if file.is_file()]


def submit(client: ApiClient, key: str | None = None, **request: Any) -> dict[str, Any]:
    headers = {} if key is None else {"Idempotency-Key": key}
    answer = client.post("/api/v1/jobs", json={"prompt": f"a {WORD}"} | request, headers=headers)
    assert answer.status_code == 202, answer.json
    return answer.json


def draw(app: App, job_id: str) -> None:
    """Act as the worker: interpret the job, and store a picture and its presentation."""
    services = app.extensions["limner"]
    claim = start(app, job_id)
    made = Interpretation(conditions=Conditions(prompt=f"a shiny {WORD}"), backend="rules")
    spec = claim.spec.model_copy(update={"prompt": f"a shiny {WORD}"})
    picture = png("red")
    image = NewImage(services.blobs.put(picture), "image/png", 64, 32, len(picture), 7, {}, f"a {WORD}", "ab" * 32)
    with services.database.write() as session:
        ledger.store_interpretation(session, job_id, claim.attempt, made, spec, 1)
        result = ledger.Result(job_id, claim.attempt, [image], presentation=f"Here is a {WORD}.")
        assert ledger.finish(session, [result])


def use_all_features(app: App, client: ApiClient) -> list[str]:
    """Send the word in every way a tenant can; returns the ids of the tenant's jobs, all of which have ended."""
    sent = {"image": data_url(Picture.new("RGB", (64, 32), "red")), "mask": data_url(Picture.new("RGB", (64, 32)))}
    drawn = submit(client, key=f"{WORD} key", metadata={WORD: [WORD]}, negative_prompt=f"no {WORD}", **sent)
    canceled = submit(client, image=sent["image"])
    client.post(canceled["links"]["cancel"])
    conversation = client.post("/api/v1/conversations", json={"message": f"please draw a {WORD}"}).json
    draw(app, conversation["turns"][0]["job"]["id"])
    turn = client.post(conversation["links"]["messages"], json={"message": f"a bluer {WORD}"}).json
    edited = client.put(
        f"{conversation['links']['self']}/turns/{turn['id']}", json={"message": f"a greener {WORD}"}
    ).json
    lines = f'{{"prompt": "a {WORD}"}}\n{{"description": "draw a {WORD}", "metadata": {{"{WORD}": 1}}}}\n'
    headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": f"{WORD} bulk"}
    bulk = client.post("/api/v1/bulks", data=lines, headers=headers).json
    bulk_jobs = client.get(f"/api/v1/jobs?bulk={bulk['id']}").json["items"]
    for job in (drawn, turn["job"], edited["job"], *bulk_jobs):
        draw(app, job["id"])
    return [job["id"] for job in client.get("/api/v1/jobs").json["items"]]


@both_databases
def test_nothing_is_left_of_a_tenant_that_keeps_no_jobs(
    app: App, client: ApiClient, database: Database, redis_url: str
):
    assert len(use_all_features(app, client)) == 7
    assert {"jobs", "turns", "conversations", "images", "idempotency_keys"} <= tables_with_word(database)
    assert len(files(app)) == 3
    set_retention(database, keep_jobs_days=0)
    run_retention(app)
    tables = (Job, Image, Event, ConversationTurn, Conversation, Bulk, IdempotencyKey, Input)
    assert [count(database, table) for table in tables] == [0] * len(tables)
    assert tables_with_word(database) == set()
    assert files(app) == []
    assert not [found for found in redis_entries(redis_url) if WORD in found]


@both_databases
def test_a_tenant_that_keeps_no_prompts_loses_all_texts_and_keeps_the_pictures(
    app: App, client: ApiClient, database: Database
):
    use_all_features(app, client)
    with database.write() as session:
        session.execute(delete(IdempotencyKey))  # a day later
    set_retention(database, keep_prompts_days=0)
    run_retention(app)
    assert tables_with_word(database) == set()
    assert (count(database, Job), count(database, Image), count(database, ConversationTurn)) == (7, 6, 3)
    assert len(files(app)) == 3


@both_databases
def test_input_images_are_deleted_with_the_pictures_made_from_them(app: App, client: ApiClient, database: Database):
    use_all_features(app, client)
    set_retention(database, keep_images_days=0)
    run_retention(app)
    assert (count(database, Image), count(database, Input), files(app)) == (0, 0, [])


@both_databases
def test_an_input_image_of_a_waiting_job_is_kept_at_any_age(app: App, client: ApiClient, database: Database):
    url = data_url(Picture.new("RGB", (64, 32), "red"))
    ended, waiting = submit(client, image=url), submit(client, image=url)
    client.post(ended["links"]["cancel"])
    [stored] = files(app)
    os.utime(stored, (1, 1))
    set_retention(database, keep_images_days=0)
    run_retention(app)
    assert files(app) == [stored]
    client.post(waiting["links"]["cancel"])
    run_retention(app)
    assert files(app) == []


def test_a_recently_sent_input_image_is_kept_until_its_job_exists(app: App, client: ApiClient, database: Database):
    services = app.extensions["limner"]
    url = data_url(Picture.new("RGB", (64, 32), "red"))
    client.post(submit(client, image=url)["links"]["cancel"])
    set_retention(database, keep_images_days=0)
    Retention(services.database, services.blobs, 60).run()
    assert len(files(app)) == 1
    run_retention(app)
    assert files(app) == []


def test_an_input_image_without_a_job_is_deleted_by_age(app: App, client: ApiClient):
    services = app.extensions["limner"]
    submit(client, image=data_url(Picture.new("RGB", (64, 32), "red")))
    [old, young] = [services.blobs.folder / INPUTS / services.blobs.put_input(data) for data in (b"old", b"young")]
    for file in files(app):
        os.utime(file, (1, 1) if file != young else None)
    run_retention(app)
    assert (old.exists(), young.exists(), len(files(app))) == (False, True, 2)


@both_databases
@pytest.mark.parametrize("days", ["keep_prompts_days", "keep_images_days"])
def test_retention_changes_the_etag_of_a_job_once(
    app: App, client: ApiClient, database: Database, monkeypatch: pytest.MonkeyPatch, days: str
):
    monkeypatch.setattr(unchanged_polls, "RECHECK_SECONDS", 0.0)  # retention changes jobs without hints
    job = submit(client)
    finish(app, start(app, job["id"]), png("red"))
    seen = client.get(job["links"]["self"])
    unchanged = {"If-None-Match": seen.headers["ETag"]}
    assert client.get(job["links"]["self"], headers=unchanged).status_code == 304
    set_retention(database, **{days: 0.0})
    run_retention(app)
    after = client.get(job["links"]["self"], headers=unchanged)
    assert after.status_code == 200
    assert after.json["version"] > seen.json["version"]
    run_retention(app)
    assert client.get(job["links"]["self"]).json["version"] == after.json["version"], "the second run changed it again"


@both_databases
def test_earlier_messages_are_deleted_once_the_turn_that_needs_them_has_ended(
    app: App, client: ApiClient, database: Database
):
    conversation = client.post("/api/v1/conversations", json={"message": f"a {WORD}"}).json
    first = conversation["turns"][0]["job"]["id"]
    draw(app, first)
    later = client.post(conversation["links"]["messages"], json={"message": "bluer"}).json["job"]["id"]
    with database.write() as session:
        session.execute(update(Job).where(Job.id == first).values(finished_at=Job.finished_at - 2 * 86_400))
    set_retention(database, keep_prompts_days=1)
    run_retention(app)
    assert tables_with_word(database) == {"jobs"}, "the history of the later turn's job was not kept"
    finish(app, start(app, later), png("blue"))
    run_retention(app)
    assert tables_with_word(database) == set()


def test_old_usage_rows_are_deleted(app: App, database: Database):
    with database.write() as session:
        days = ("2020-01-01", "2999-01-01")
        session.add_all(Usage(tenant_id=ledger.LOCAL_TENANT, day=day, cost=1) for day in days)
    run_retention(app)
    assert USAGE_DAYS < 365
    with database.read() as session:
        assert list(session.scalars(select(Usage.day))) == ["2999-01-01"]
