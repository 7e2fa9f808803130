"""What a tenant no longer keeps is gone: from every table, from the blob store and from Redis, and pollers see it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Picture
from redis import Redis
from sqlalchemy import delete, func, inspect, select, text, update

from limner_dispatcher.blob_sweep import BlobSweep
from limner_dispatcher.retention import Cleaner
from limner_shared.db import ledger
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
from tests.api.test_inputs import CARD, data_url
from tests.api.work import finish, png, start

WORD = "xyzzyplugh"
NO_GRACE = -1.0
both = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def app(make_app, tmp_path: Path):
    card = tmp_path / "painter.toml"
    card.write_text(CARD)
    return make_app(models=(card,), default_model="painter")


def keep(database, **days: float) -> None:
    with database.write() as session:
        session.execute(update(Tenant).values(**days))


def clean(app) -> None:
    services = app.extensions["limner"]
    Cleaner(services.database, services.blobs, NO_GRACE).clean()
    BlobSweep(services.database, services.blobs, aside_seconds=NO_GRACE).purge()


def count(database, table: type) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def said(database) -> set[str]:
    """The tables in which the word stands anywhere."""
    tables = inspect(database.engine).get_table_names()
    with database.read() as session:
        rows = {name: session.execute(text(f"SELECT * FROM {name}")).all() for name in tables}  # noqa: S608
    return {name for name, found in rows.items() if any(WORD in str(tuple(row)) for row in found)}


def in_redis(redis_url: str) -> Iterator[str]:
    with Redis.from_url(redis_url, decode_responses=True) as client:
        for key in client.scan_iter():
            read: dict[str, Any] = {"string": client.get, "list": lambda name: client.lrange(name, 0, -1)}
            yield f"{key} {read.get(client.type(key), str)(key)}"


def files(app) -> list[Path]:
    return [file for file in app.extensions["limner"].blobs.folder.rglob("*") if file.is_file()]


def submit(client, key: str | None = None, **request: object) -> dict:
    headers = {} if key is None else {"Idempotency-Key": key}
    answer = client.post("/api/v1/jobs", json={"prompt": f"a {WORD}"} | request, headers=headers)
    assert answer.status_code == 202, answer.json
    return answer.json


def draw(app, job_id: str) -> None:
    """Play the worker: interpret, draw, present."""
    services = app.extensions["limner"]
    claim = start(app, job_id)
    made = Interpretation(conditions=Conditions(prompt=f"a shiny {WORD}"), backend="rules")
    spec = claim.spec.model_copy(update={"prompt": f"a shiny {WORD}"})
    picture = png("red")
    image = NewImage(services.blobs.put(picture), "image/png", 64, 32, len(picture), 7, {}, f"a {WORD}", "ab" * 32)
    with services.database.write() as session:
        ledger.interpreted(session, job_id, claim.attempt, made, spec, 1)
        result = ledger.Result(job_id, claim.attempt, [image], presentation=f"Here is a {WORD}.")
        assert ledger.finish(session, [result])


def live(app, client) -> list[str]:
    """All that a tenant can say and send; returns the ids of its jobs, all of which have ended."""
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
    of_bulk = client.get(f"/api/v1/jobs?bulk={bulk['id']}").json["items"]
    for job in (drawn, turn["job"], edited["job"], *of_bulk):
        draw(app, job["id"])
    return [job["id"] for job in client.get("/api/v1/jobs").json["items"]]


@both
def test_of_a_tenant_that_keeps_no_jobs_nothing_is_left_anywhere(app, client, database, redis_url):
    assert len(live(app, client)) == 7
    assert {"jobs", "turns", "conversations", "images", "idempotency_keys"} <= said(database)
    assert len(files(app)) == 3
    keep(database, keep_jobs_days=0)
    clean(app)
    tables = (Job, Image, Event, ConversationTurn, Conversation, Bulk, IdempotencyKey, Input)
    assert [count(database, table) for table in tables] == [0] * len(tables)
    assert said(database) == set()
    assert files(app) == []
    assert not [found for found in in_redis(redis_url) if WORD in found]


@both
def test_of_a_tenant_that_keeps_no_prompts_no_word_is_left_and_the_pictures_stay(app, client, database):
    live(app, client)
    with database.write() as session:
        session.execute(delete(IdempotencyKey))  # a day later
    keep(database, keep_prompts_days=0)
    clean(app)
    assert said(database) == set()
    assert (count(database, Job), count(database, Image), count(database, ConversationTurn)) == (7, 6, 3)
    assert len(files(app)) == 3


@both
def test_inputs_go_with_the_pictures_that_were_made_of_them(app, client, database):
    live(app, client)
    keep(database, keep_images_days=0)
    clean(app)
    assert (count(database, Image), count(database, Input), files(app)) == (0, 0, [])


@both
def test_an_input_that_a_waiting_job_starts_from_stays_however_old_it_is(app, client, database):
    url = data_url(Picture.new("RGB", (64, 32), "red"))
    ended, waiting = submit(client, image=url), submit(client, image=url)
    client.post(ended["links"]["cancel"])
    [stored] = files(app)
    os.utime(stored, (1, 1))
    keep(database, keep_images_days=0)
    clean(app)
    assert files(app) == [stored]
    client.post(waiting["links"]["cancel"])
    clean(app)
    assert files(app) == []


def test_an_input_that_was_sent_again_a_moment_ago_waits_for_its_job(app, client, database):
    services = app.extensions["limner"]
    url = data_url(Picture.new("RGB", (64, 32), "red"))
    client.post(submit(client, image=url)["links"]["cancel"])
    keep(database, keep_images_days=0)
    Cleaner(services.database, services.blobs, 60).clean()
    assert len(files(app)) == 1
    clean(app)
    assert files(app) == []


def test_an_input_that_no_job_has_goes_by_its_age(app, client):
    services = app.extensions["limner"]
    submit(client, image=data_url(Picture.new("RGB", (64, 32), "red")))
    [old, young] = [services.blobs.folder / INPUTS / services.blobs.put_input(data) for data in (b"old", b"young")]
    for file in files(app):
        os.utime(file, (1, 1) if file != young else None)
    clean(app)
    assert (old.exists(), young.exists(), len(files(app))) == (False, True, 2)


@both
@pytest.mark.parametrize("days", ["keep_prompts_days", "keep_images_days"])
def test_a_poller_hears_of_what_was_forgotten(app, client, database, days):
    job = submit(client)
    finish(app, start(app, job["id"]), png("red"))
    seen = client.get(job["links"]["self"])
    unchanged = {"If-None-Match": seen.headers["ETag"]}
    assert client.get(job["links"]["self"], headers=unchanged).status_code == 304
    keep(database, **{days: 0.0})
    clean(app)
    after = client.get(job["links"]["self"], headers=unchanged)
    assert after.status_code == 200
    assert after.json["version"] > seen.json["version"]
    clean(app)
    assert client.get(job["links"]["self"]).json["version"] == after.json["version"], "it is forgotten once"


@both
def test_what_was_said_before_is_forgotten_once_the_turn_that_needs_it_has_ended(app, client, database):
    conversation = client.post("/api/v1/conversations", json={"message": f"a {WORD}"}).json
    first = conversation["turns"][0]["job"]["id"]
    draw(app, first)
    later = client.post(conversation["links"]["messages"], json={"message": "bluer"}).json["job"]["id"]
    with database.write() as session:
        session.execute(update(Job).where(Job.id == first).values(finished_at=Job.finished_at - 2 * 86_400))
    keep(database, keep_prompts_days=1)
    clean(app)
    assert said(database) == {"jobs"}, "the later turn's job was given what was said"
    finish(app, start(app, later), png("blue"))
    clean(app)
    assert said(database) == set()


def test_what_was_granted_long_ago_is_no_longer_counted(app, database):
    with database.write() as session:
        days = ("2020-01-01", "2999-01-01")
        session.add_all(Usage(tenant_id=ledger.LOCAL_TENANT, day=day, cost=1) for day in days)
    clean(app)
    assert USAGE_DAYS < 365
    with database.read() as session:
        assert list(session.scalars(select(Usage.day))) == ["2999-01-01"]
