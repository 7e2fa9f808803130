"""Images: links without a key, renditions that are made once, and parts of a file."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from limner_shared.db import signed_links
from limner_shared.db.engine import Database
from limner_shared.errors import StorageFull
from limner_shared.storage.blobs import RENDITIONS
from limner_web.pictures import renditions
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_keys import make_key
from tests.api.test_retention import both_databases, run_retention


def drawn(client: ApiClient, app: App, **headers: str) -> dict[str, Any]:
    job = client.post("/api/v1/jobs", json={"prompt": "a cat"}, headers=headers).json
    finish(app, start(app, job["id"]), png("red"))
    return client.get(job["links"]["self"], headers=headers).json["images"][0]


def path(url: str) -> str:
    return urlsplit(url).path


@both_databases
def test_a_link_works_without_a_key_until_its_image_is_deleted(make_app: Callable[..., App], database: Database):
    app = make_app(require_keys=True)
    client, key = app.test_client(), make_key(database, "local")
    image = drawn(client, app, **key)
    assert client.get(f"{image['url']}/link").status_code == 401
    answer = client.get(f"{image['url']}/link?expires_in=60", headers=key)
    assert answer.headers["Cache-Control"] == "no-store"
    link = path(answer.json["url"])
    other_process = make_app(require_keys=True).test_client()
    shown = other_process.get(link)
    assert (shown.status_code, shown.data) == (200, png("red"))
    assert shown.cache_control.max_age is not None
    assert shown.cache_control.max_age <= 60
    assert other_process.get(f"{link}?format=webp&width=64").data[8:12] == b"WEBP"
    assert client.delete(image["url"], headers=key).status_code == 204
    assert other_process.get(link).status_code == 404


def test_an_expired_forged_or_foreign_link_is_refused(
    client: ApiClient, app: App, make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch
):
    image = drawn(client, app)
    link = client.get(f"{image['url']}/link?expires_in=60").json
    token = path(link["url"])
    for bad in (f"{token}x", token[:-3], "/images/x", token.replace(".", "", 1), "/images/%00", "/images/é"):
        refused = client.get(bad)
        assert refused.status_code in (403, 404), bad
        assert refused.json["code"] in ("invalid_link", "not_found")
    assert make_app(signing_key="another").test_client().get(token).json["code"] == "invalid_link"
    until = datetime.fromisoformat(link["expires_at"]).timestamp()
    monkeypatch.setattr(signed_links.time, "time", lambda: until)
    assert (client.get(token).status_code, client.get(token).json["code"]) == (410, "link_expired")
    assert client.get(f"{image['url']}/link?expires_in=604801").status_code == 422


def test_while_the_signing_key_is_replaced_each_server_accepts_the_links_of_all(
    client: ApiClient, app: App, make_app: Callable[..., App]
):
    image = drawn(client, app)
    steps = (
        make_app(signing_key="old"),
        make_app(signing_key="old", accepted_signing_keys=("next",)),
        make_app(signing_key="next", accepted_signing_keys=("old",)),
        make_app(signing_key="next"),
    )
    servers = [each.test_client() for each in steps]

    def accepts(server: ApiClient, maker: ApiClient) -> bool:
        return server.get(path(maker.get(f"{image['url']}/link").json["url"])).status_code == 200

    for before, after in pairwise(servers):
        assert all(accepts(server, maker) for server in (before, after) for maker in (before, after))
    assert not accepts(servers[-1], servers[0])


def test_a_rendition_is_made_once_and_deleted_with_its_image(
    client: ApiClient, app: App, monkeypatch: pytest.MonkeyPatch
):
    made: list[str] = []
    convert = renditions.convert

    def record(data: bytes, kind: str, **more: Any) -> bytes:
        made.append(kind)
        return convert(data, kind, **more)

    monkeypatch.setattr(renditions, "convert", record)
    image = drawn(client, app)
    begin = threading.Barrier(4)

    def get(_: int) -> bytes:
        begin.wait(30)
        return app.test_client().get(f"{image['url']}?format=webp&width=64").data

    with ThreadPoolExecutor(4) as pool:
        [data] = set(pool.map(get, range(4)))
    assert Image.open(io.BytesIO(data)).size == (64, 64)
    assert made == ["webp"]
    folder = app.extensions["limner"].blobs.folder / RENDITIONS
    assert len([file for file in folder.rglob("*") if file.is_file()]) == 1
    assert client.get(f"{image['url']}?width=1024").data == png("red"), "an image is never enlarged"
    client.delete(image["url"])
    run_retention(app)
    assert not [file for file in folder.rglob("*") if file.is_file()]


def test_a_damaged_rendition_is_made_again(client: ApiClient, app: App):
    image = drawn(client, app)
    folder = app.extensions["limner"].blobs.folder / RENDITIONS
    for kind in ("webp", "jpeg", "png"):
        url = f"{image['url']}?format={kind}&width=64"
        made = client.get(url).data
        [file] = [each for each in folder.rglob("*") if f".{kind}" in each.name]
        stored = bytearray(file.read_bytes())
        stored[len(made) // 2] ^= 1
        file.write_bytes(stored)
        assert client.get(url).data == made
        assert file.read_bytes().startswith(made), "it is not stored again"


def test_a_rendition_is_sent_even_if_it_cannot_be_stored(client: ApiClient, app: App, monkeypatch: pytest.MonkeyPatch):
    image = drawn(client, app)

    def full(*_: object) -> None:
        raise StorageFull

    monkeypatch.setattr(app.extensions["limner"].blobs, "put_rendition", full)
    assert client.get(f"{image['url']}?format=jpeg").data[:2] == b"\xff\xd8"


@pytest.mark.parametrize("query", ["", "?format=webp&width=128"])
def test_a_part_of_an_image_can_be_requested(client: ApiClient, app: App, query: str):
    url = drawn(client, app)["url"] + query
    whole = client.get(url)
    assert whole.headers["Accept-Ranges"] == "bytes"
    size = len(whole.data)
    parts = {"bytes=0-9": whole.data[:10], "bytes=10-": whole.data[10:], "bytes=-5": whole.data[-5:]}
    for asked, data in parts.items():
        part = client.get(url, headers={"Range": asked})
        assert (part.status_code, part.data) == (206, data)
        assert part.headers["Content-Range"].endswith(f"/{size}")
    changed = client.get(url, headers={"Range": "bytes=0-9", "If-Range": '"another"'})
    assert (changed.status_code, changed.data) == (200, whole.data)
    beyond = client.get(url, headers={"Range": f"bytes={size}-"})
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{size}")
    assert beyond.json["code"] == "range_not_satisfiable"
