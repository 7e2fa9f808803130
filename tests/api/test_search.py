"""Jobs are found by words and by any combination of filters, equally with both databases."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text, update

from limner_dispatcher.retention import Retention
from limner_shared.db import ledger, search
from limner_shared.db.engine import Database
from limner_shared.db.library_tables import JobWords
from limner_shared.db.tables import Job
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_retention import WORD, both_databases, draw, run_retention, set_retention, tables_with_word


def submit(client: ApiClient, prompt: str = "a cat", **request: Any) -> str:
    answer = client.post("/api/v1/jobs", json={"prompt": prompt} | request)
    assert answer.status_code == 202, answer.json
    return answer.json["id"]


def found(client: ApiClient, **filters: Any) -> list[str]:
    """The ids on all pages, with three jobs per page."""
    ids: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = client.get("/api/v1/jobs", query_string={"limit": 3} | filters | cursor)
        assert page.status_code == 200, page.json
        ids += [job["id"] for job in page.json["items"]]
        if page.json["next"] is None:
            return ids
        cursor = {"cursor": page.json["next"]}


@both_databases
def test_a_job_is_found_by_words_of_its_prompt_and_metadata(client: ApiClient):
    apple = submit(client, "A red Apple, on a café's table", metadata={"project": ["Blue-Sky", {"owner": "Zoë"}]})
    chinese = submit(client, "请画一个红苹果")
    thai = submit(client, "แมวสีแดง x_y")
    for q in ("apple", "APPLE red", "cafe", "café", "app", "blue sky", "zoe", "project", "table, red!"):
        assert found(client, q=q) == [apple], q
    for q in ("苹果", "红苹果", "画", "红苹果 请"):
        assert found(client, q=q) == [chinese], q
    assert found(client, q="แมวสีแดง") == [thai]
    for q in ("ap", "pple", "apple green", "果苹", "blues", '" OR 1', "tenant_local", "red:*"):
        assert found(client, q=q) in ([], [apple] if q == "red:*" else []), q


@both_databases
def test_a_search_without_words_is_refused(client: ApiClient):
    for q in ("", "!?", "x" * 201, " ".join(map(str, range(21)))):
        answer = client.get("/api/v1/jobs", query_string={"q": q})
        assert (answer.status_code, answer.json["code"]) == (422, "invalid_request"), q
    assert client.get("/api/v1/jobs?q=cat&cursor=job_1").json["field"] == "cursor"


@both_databases
def test_filters_combine_and_pages_are_complete(client: ApiClient, app: App, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(search, "CANDIDATES", 4)
    ids = [submit(client, "a cat" if n % 2 else "a dog", style="flat" if n % 3 else "noto") for n in range(12)]
    for job_id in ids[:6]:
        finish(app, start(app, job_id), png("red"))
    for job_id in (ids[1], ids[4], ids[7]):
        client.put(f"/api/v1/jobs/{job_id}/tags/best")
    image = client.get(f"/api/v1/jobs/{ids[1]}").json["images"][0]
    client.put(f"{image['url']}/favourite")
    client.put(f"/api/v1/jobs/{ids[7]}/favourite")

    def expected(*numbers: int) -> list[str]:
        return [ids[number] for number in sorted(numbers, reverse=True)]

    assert found(client) == expected(*range(12))
    assert found(client, q="cat") == expected(1, 3, 5, 7, 9, 11)
    assert found(client, style="noto") == expected(0, 3, 6, 9)
    assert found(client, q="cat", style="flat", status="succeeded") == expected(1, 5)
    assert found(client, tag="best") == expected(1, 4, 7)
    assert found(client, tag="best", q="dog") == expected(4)
    assert found(client, favourite="true") == expected(1, 7)
    assert found(client, favourite="true", tag="best", state="succeeded", model="limner-flow") == expected(1)
    assert found(client, favourite="true", model="none") == []


@both_databases
def test_a_job_is_found_by_each_style_that_its_seeds_choose_and_its_pictures_name_theirs(client: ApiClient, app: App):
    two, other = submit(client, n=2, seed=2), submit(client, seed=1)
    assert found(client, style="flat") == found(client, style="3d") == [two]
    assert found(client, style="noto") == [other]
    finish(app, start(app, other), png("red"), receipt={"style": "noto"})
    job = client.get(f"/api/v1/jobs/{other}").json
    assert (job["style"], [image["style"] for image in job["images"]]) == (None, ["noto"])


@both_databases
def test_a_picture_without_a_style_in_its_receipt_has_the_one_that_its_job_chose(client: ApiClient, app: App):
    chosen, none = submit(client, style="noto"), submit(client)
    for job_id in (chosen, none):
        finish(app, start(app, job_id), png("red"))
    styles = [client.get(f"/api/v1/jobs/{job_id}").json["images"][0]["style"] for job_id in (chosen, none)]
    assert styles == ["noto", None]


@both_databases
def test_jobs_are_found_by_conversation_bulk_and_time(client: ApiClient, app: App, database: Database):
    single = submit(client)
    middle = datetime.now(UTC)
    talk = client.post("/api/v1/conversations", json={"message": "a cat"}).json
    later = client.post(talk["links"]["messages"], json={"message": "bluer"}).json["job"]["id"]
    turns = [later, talk["turns"][0]["job"]["id"]]
    lines = "".join(json.dumps({"prompt": f"cat {n}"}) + "\n" for n in range(5))
    bulk = client.post("/api/v1/bulks", data=lines, content_type="application/jsonl").json["id"]
    assert found(client, conversation=talk["id"]) == turns
    assert found(client, conversation=talk["id"], q="bluer") == [later]
    assert len(found(client, bulk=bulk)) == len(found(client, bulk=bulk, q="cat")) == 5
    assert found(client, created_before=middle.isoformat()) == [single]
    assert found(client, created_before=middle.isoformat(), q="cat") == [single]
    assert len(found(client, created_after=middle.isoformat())) == 7
    assert found(client, created_after=(middle + timedelta(hours=1)).isoformat()) == []
    assert len(found(client, created_after="0001-01-01T00:00:00Z", created_before="9999-12-31T23:59:59Z")) == 8
    with database.write() as session:
        ledger.ensure_tenant(session, "tenant_other", "other")
        session.execute(update(Job).values(tenant_id="tenant_other"))
    assert found(client, conversation=talk["id"]) == found(client, q="cat") == found(client, bulk=bulk) == []


@both_databases
def test_jobs_are_found_by_their_origin_with_other_filters(
    client: ApiClient, app: App, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(search, "CANDIDATES", 2)
    monkeypatch.setattr(search, "ORIGIN_CANDIDATES", 4)
    alone = [submit(client, f"a cat {n}") for n in range(3)]
    lines = "".join(json.dumps({"prompt": f"cat {n}"}) + "\n" for n in range(5))
    bulk = client.post("/api/v1/bulks", data=lines, content_type="application/jsonl").json["id"]
    talk = client.post("/api/v1/conversations", json={"message": "a cat"}).json
    said = talk["turns"][0]["job"]["id"]
    assert found(client, origin="single") == alone[::-1]
    assert found(client, origin="bulk") == found(client, bulk=bulk)
    assert found(client, origin="conversation") == [said]
    assert found(client, origin="conversation", q="cat") == [said]
    assert found(client, origin="not_bulk") == sorted([said, *alone], reverse=True)
    assert found(client, origin="single", bulk=bulk) == found(client, origin="bulk", conversation=talk["id"]) == []
    finish(app, start(app, alone[1]), png("red"))
    assert found(client, origin="single", status="succeeded", model="limner-flow") == [alone[1]]
    assert client.get("/api/v1/jobs?origin=letter").status_code == 422
    client.delete(f"/api/v1/conversations/{talk['id']}")
    assert found(client, origin="conversation") == []
    assert found(client, origin="single") == [said, *alone[::-1]]


@both_databases
def test_jobs_outside_bulks_are_found_behind_a_bulk_of_any_size(client: ApiClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(search, "CANDIDATES", 2)
    monkeypatch.setattr(search, "ORIGIN_CANDIDATES", 4)
    alone = submit(client, "alone")
    lines = '{"prompt": "a line"}\n' * 10
    client.post("/api/v1/bulks", data=lines, content_type="application/jsonl")
    for origin in ("not_bulk", "single"):
        page = client.get(f"/api/v1/jobs?origin={origin}").json
        assert ([job["id"] for job in page["items"]], page["next"]) == ([alone], None)


@both_databases
def test_a_description_is_found_by_what_was_said_and_by_what_was_drawn(client: ApiClient, app: App):
    talk = client.post("/api/v1/conversations", json={"message": "etwas Rotes"}).json
    job_id = talk["turns"][0]["job"]["id"]
    assert found(client, q="rotes") == [job_id]
    draw(app, job_id)
    assert found(client, q="shiny") == found(client, q="rotes") == [job_id]


@both_databases
@pytest.mark.parametrize("how", ["delete", "keep_prompts_days", "keep_jobs_days"])
def test_the_index_forgets_the_words_of_deleted_prompts(client: ApiClient, app: App, database: Database, how: str):
    others = [submit(client, f"other {n}") for n in range(30)]
    job_id = submit(client, f"a {WORD}")
    finish(app, start(app, job_id), png("red"))
    assert found(client, q=WORD) == [job_id]
    if how == "delete":
        assert client.delete(f"/api/v1/jobs/{job_id}").status_code == 204
    else:
        set_retention(database, **{how: 0.0})
    run_retention(app)
    assert found(client, q=WORD) == []
    assert tables_with_word(database) == set()
    assert found(client, q="other") == others[::-1]


@both_databases
def test_jobs_of_an_earlier_release_are_indexed_and_its_retention_removes_words(
    client: ApiClient, app: App, database: Database
):
    old, forgotten, damaged = submit(client, f"a {WORD}"), submit(client, "a dog"), submit(client, "a cow")
    with database.write() as session:
        session.execute(text("DELETE FROM job_words"))
        session.execute(update(Job).values(indexed=False))
        session.execute(update(Job).where(Job.id == forgotten).values(forgotten=2))
        session.execute(update(Job).where(Job.id == damaged).values(spec=[]))
    Retention(database, app.extensions["limner"].blobs, -1.0).run()
    assert found(client, q=WORD) == [old]
    assert found(client, q="dog") == []
    with database.write() as session:
        session.execute(update(Job).where(Job.id == old).values(forgotten=2))
    assert found(client, q=WORD) == []
    with database.read() as session:
        assert session.scalars(select(JobWords.job_id)).all() == []
