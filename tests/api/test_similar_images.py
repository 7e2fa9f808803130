"""Images are listed by their likeness to one, equally with both databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from sqlalchemy import delete, func, select, update

from limner_client.client import Client
from limner_shared.db import embeddings, ledger
from limner_shared.db.engine import Database
from limner_shared.db.library_tables import ImageEmbedding
from limner_shared.db.tables import Job
from limner_shared.domain.embeddings import DIMENSIONS, VECTOR_TYPE, Embedding
from limner_web.api import similar_images
from limner_web.pictures import vector_cache
from limner_web.pictures.vector_cache import Place, VectorCache
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_retention import both_databases

ENCODER = "tower:1"


def towards(degrees: float, encoder: str = ENCODER) -> Embedding:
    """A vector at an angle to the first axis: the nearer two angles are, the more alike the images."""
    vector = np.zeros(DIMENSIONS)
    vector[:2] = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return Embedding(encoder, vector.astype(VECTOR_TYPE).tobytes())


def draw(app: App, *vectors: Embedding | None, **request: Any) -> list[str]:
    """The ids of the images of a new job, one for each vector."""
    client = app.test_client()
    job = client.post("/api/v1/jobs", json={"prompt": "a cat", "n": len(vectors)} | request).json["id"]
    finish(app, start(app, job), *([png("red")] * len(vectors)), embeddings=vectors)
    return [image["id"] for image in client.get(f"/api/v1/jobs/{job}").json["images"]]


def similar(client: ApiClient, image_id: str, **filters: Any) -> list[str]:
    """The ids on all pages, with two images per page."""
    ids: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = client.get("/api/v1/images", query_string={"similar_to": image_id, "limit": 2} | filters | cursor)
        assert page.status_code == 200, page.json
        ids += [image["id"] for image in page.json["items"]]
        if page.json["next"] is None:
            return ids
        cursor = {"cursor": page.json["next"]}


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(vector_cache, "REFRESH_SECONDS", 0.0)


@both_databases
def test_the_most_similar_images_come_first_on_pages_that_end(
    app: App, client: ApiClient, monkeypatch: pytest.MonkeyPatch
):
    near, far, [same] = draw(app, towards(20), towards(90), towards(40)), draw(app, towards(150)), draw(app, towards(0))
    [without] = draw(app, None)
    [asked] = draw(app, towards(0))
    draw(app, towards(0, "tower:2"))
    expected = [same, near[0], near[2], near[1], *far]
    assert similar(client, asked) == expected
    with monkeypatch.context() as patch:
        patch.setattr(similar_images, "CANDIDATES", 2)
        assert similar(client, asked, model="limner-flow") == expected
    with Client("http://localhost", transport=httpx.WSGITransport(app)) as typed:
        page = typed.images.similar(asked, limit=1, favourite=False)
        second = typed.images.similar(asked, limit=1, cursor=page.next).items
        first = page.items[0]
        assert [image.id for image in typed.job(first.job).images] == [same]
    assert (first.similarity, first.model, [image.id for image in second]) == (
        *(pytest.approx(1, abs=0.001), "limner-flow"),
        [near[0]],
    )
    refused = client.get(f"/api/v1/images?similar_to={without}")
    assert (refused.status_code, refused.json["field"]) == (422, "similar_to")


@both_databases
def test_filters_apply_to_similar_images_and_others_are_refused_by_name(app: App, client: ApiClient):
    [asked], [other_model] = draw(app, towards(0)), draw(app, towards(1), model="limner-gan")
    one, two = draw(app, towards(10), towards(20))
    [marked] = draw(app, towards(30))
    client.put(f"/api/v1/images/{two}/favourite")
    client.put(f"/api/v1/images/{two}/tags/best")
    job = client.get(f"/api/v1/images?similar_to={asked}&limit=4").json["items"][-1]["job"]
    client.put(f"/api/v1/jobs/{job}/favourite")
    assert similar(client, asked, favourite=True) == [two, marked]
    assert similar(client, asked, tag="best", favourite=True) == [two]
    assert similar(client, asked, model="limner-gan") == [other_model]
    assert similar(client, asked, created_after="2020-01-01T00:00:00Z") == [other_model, one, two, marked]
    assert similar(client, asked, created_before="2020-01-01T00:00:00Z") == []
    for name in ("q", "state", "style", "dead", "ids"):
        answer = client.get("/api/v1/images", query_string={"similar_to": asked, name: "x"})
        assert answer.status_code == 422
        assert name in answer.json["detail"]
    for cursor in ("", "1", "img_1", "1_job_1", "123456789_img_1"):
        assert client.get(f"/api/v1/images?similar_to={asked}&cursor={cursor}").json["field"] == "cursor"


@both_databases
def test_new_images_are_found_and_deleted_ones_are_not(app: App, client: ApiClient, database: Database):
    [asked], [gone], [kept] = draw(app, towards(0)), draw(app, towards(10)), draw(app, towards(20))
    assert similar(client, asked) == [gone, kept]
    client.delete(f"/api/v1/images/{gone}")
    [new] = draw(app, towards(5))
    assert similar(client, asked) == [new, kept]
    services = app.extensions["limner"]
    assert [place.image_id for place in services.vectors.rank(ledger.LOCAL_TENANT, towards(0), 9, None)] == [
        *(asked, new, kept)
    ]
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(ImageEmbedding)) == 3
    client.delete(f"/api/v1/images/{asked}")
    assert client.get(f"/api/v1/images?similar_to={asked}").status_code == 404


@both_databases
def test_another_tenants_images_are_neither_compared_nor_listed(app: App, client: ApiClient, database: Database):
    [asked], [foreign], [own] = draw(app, towards(0)), draw(app, towards(1)), draw(app, towards(9))
    with database.write() as session:
        ledger.ensure_tenant(session, "tenant_other", "other")
        job = client.get(f"/api/v1/images?similar_to={asked}").json["items"][0]["job"]
        session.execute(update(Job).where(Job.id == job).values(tenant_id="tenant_other"))
    assert client.get(f"/api/v1/images?similar_to={foreign}").status_code == 404
    assert similar(client, asked) == [own]


def test_a_damaged_vector_is_not_compared(app: App, client: ApiClient, database: Database):
    [asked], [broken], [wild] = draw(app, towards(0)), draw(app, towards(1)), draw(app, towards(2))
    with database.write() as session:
        for image_id, vector in ((broken, b"short"), (wild, b"\xff" * 2 * DIMENSIONS)):
            session.execute(update(ImageEmbedding).where(ImageEmbedding.image_id == image_id).values(vector=vector))
    assert similar(client, asked) == [wild]
    assert client.get(f"/api/v1/images?similar_to={broken}").status_code == 422
    assert client.get(f"/api/v1/images?similar_to={wild}").status_code == 200


def test_equal_images_keep_their_order_across_pages_and_processes(
    make_app: Callable[..., App], app: App, monkeypatch: pytest.MonkeyPatch
):
    [asked], equal = draw(app, towards(0)), draw(app, *[towards(30)] * 4)
    others = [make_app().test_client() for _ in range(2)]
    monkeypatch.setattr(similar_images, "CANDIDATES", 3)
    ids: list[str] = []
    cursor = ""
    for page in range(4):
        query = f"/api/v1/images?similar_to={asked}&limit=1&model=limner-flow" + (f"&cursor={cursor}" if cursor else "")
        answer = others[page % 2].get(query).json
        ids, cursor = ids + [image["id"] for image in answer["items"]], answer["next"]
    assert ids == sorted(equal, reverse=True)


def test_the_vectors_of_tenants_that_searched_longest_ago_are_dropped(
    app: App, database: Database, monkeypatch: pytest.MonkeyPatch
):
    draw(app, towards(0), towards(1), towards(2))
    cache = VectorCache(database)
    monkeypatch.setattr(vector_cache, "MAX_HELD", 4)
    monkeypatch.setattr(vector_cache, "READ_AT_ONCE", 2)
    for tenant in (ledger.LOCAL_TENANT, "tenant_b", ledger.LOCAL_TENANT):
        cache.rank(tenant, towards(0), 3, None)
    assert len(cache._held) == 2
    with database.write() as session:
        session.execute(update(ImageEmbedding).values(tenant_id="tenant_c"))
    assert len(cache.rank("tenant_c", towards(0), 9, None)) == 3
    assert [tenant for tenant, _ in cache._held] == ["tenant_c"]


def test_only_the_newest_images_of_a_tenant_are_compared(app: App, database: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(vector_cache, "MAX_VECTORS", 2)
    cache = VectorCache(database)
    old = draw(app, towards(0), towards(1), towards(2))
    assert {place.image_id for place in cache.rank(ledger.LOCAL_TENANT, towards(0), 9, None)} == set(sorted(old)[1:])
    [new] = draw(app, towards(3))
    assert {place.image_id for place in cache.rank(ledger.LOCAL_TENANT, towards(0), 9, None)} == {sorted(old)[2], new}


def test_an_image_whose_transaction_commits_late_is_found(app: App, database: Database):
    cache = VectorCache(database)
    [first] = draw(app, towards(0))
    [second] = draw(app, towards(10))
    with database.write() as session:
        found = embeddings.embeddings_of(session, [first])[first]
        session.execute(delete(ImageEmbedding).where(ImageEmbedding.image_id == first))
    assert [place.image_id for place in cache.rank(ledger.LOCAL_TENANT, towards(0), 9, None)] == [second]
    with database.write() as session:
        session.add(ImageEmbedding(image_id=first, tenant_id=ledger.LOCAL_TENANT, **found._asdict()))
    places = cache.rank(ledger.LOCAL_TENANT, towards(0), 9, None)
    assert [place.image_id for place in places] == [first, second]
    assert places[0] == Place(vector_cache.SCALE**2, first)
