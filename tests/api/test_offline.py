"""The service worker and the page that it keeps: who may ask for them, how long they are kept, and when they change."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest
from PIL import Image

from tests.api.clients import ApiClient, App

FILES = re.compile(r'(?:href|src)="(/static/[^"]+)"')
VERSION = re.compile(r"limner-offline-([0-9a-f]{12})")


@pytest.mark.parametrize(("path", "kind"), [("/service-worker.js", "text/javascript"), ("/offline", "text/html")])
def test_the_worker_and_its_page_need_no_key_and_are_asked_for_again(
    make_app: Callable[..., App], path: str, kind: str
) -> None:
    client = make_app(require_keys=True).test_client()
    answer = client.get(path)
    assert (answer.status_code, answer.mimetype) == (200, kind)
    assert answer.headers["Cache-Control"] == "no-cache"
    assert {"Accept-Language", "Cookie"} <= set(answer.vary.as_set(preserve_casing=True))
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert client.get(path, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304


def test_the_worker_names_exactly_the_files_of_its_page(client: ApiClient) -> None:
    page, worker = client.get("/offline").text, client.get("/service-worker.js").text
    files = set(FILES.findall(page))
    assert len(files) == 3
    for each in files:
        assert f'"{each}"' in worker
        assert each.endswith("?offline")
        assert client.get(each).status_code == 200
    assert worker.count("/static/") == len(files)


def test_the_worker_changes_with_the_language_and_the_theme_of_its_page(client: ApiClient) -> None:
    plain, german = (client.get("/service-worker.js", headers={"Accept-Language": code}).text for code in ("en", "de"))
    client.set_cookie("theme", "dark")
    dark = client.get("/service-worker.js").text
    assert len({*VERSION.findall(plain), *VERSION.findall(german), *VERSION.findall(dark)}) == 3
    assert VERSION.sub("", plain) == VERSION.sub("", german) == VERSION.sub("", dark)


def test_the_icon_for_home_screens_is_an_opaque_png(client: ApiClient) -> None:
    found = re.search(r'rel="apple-touch-icon" href="([^"]+)"', client.get("/").text)
    assert found
    answer = client.get(found[1])
    assert answer.content_type == "image/png"
    with Image.open(io.BytesIO(answer.data)) as icon:
        assert icon.size == (180, 180)
        assert not icon.has_transparency_data
