"""Pictures that a bucket delivers itself: SeaweedFS, with all processes of the service."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from limner_client import Client
from limner_client.local.embedded_valkey import free_port
from limner_shared.db.schema import upgrade
from limner_shared.storage.object_store import Store
from tests.processes import Service, eventually
from tests.stores.programs import Server

pytestmark = pytest.mark.long

BUCKET = "s3://pictures/limner"


@pytest.fixture
def service(seaweedfs: Server, start_service: Callable[..., Service], tmp_path: Path) -> Service:
    """All processes; the clients' address of the bucket has another name than the servers'."""
    url = f"sqlite:///{tmp_path / 'limner.db'}"
    upgrade(url)
    endpoint = f"http://localhost:{urlsplit(os.environ['AWS_ENDPOINT']).port}"
    delivery = {"delivery_seconds": 60, "delivery_endpoint": endpoint}
    started = start_service(
        blob_url=BUCKET, database_url=url, web_workers=1, metrics=False, port=free_port(), **delivery
    )
    started.start("dispatcher")
    started.start_web()
    started.start_workers()
    return started


@pytest.fixture
def web(service: Service):
    with httpx.Client(base_url=f"http://127.0.0.1:{service.settings.port}", trust_env=False, timeout=60) as client:
        yield client


def test_a_picture_is_read_from_the_bucket_by_a_url_that_expires(service: Service, web: httpx.Client) -> None:
    [job] = service.wait(service.submit(1))
    [image] = web.get(f"/api/v1/jobs/{job.id}").json()["images"]
    link = urlsplit(str(web.get(f"{image['url']}/link").json()["url"])).path
    for url in (image["url"], link):
        answer = web.get(url)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (307, "private, max-age=30")
        assert answer.headers["Location"].startswith("http://localhost:")
        found = httpx.get(answer.headers["Location"], trust_env=False)
        assert (found.status_code, found.headers["Content-Type"]) == (200, "image/png")
        assert hashlib.sha256(found.content).hexdigest() == image["sha256"]
        part = httpx.get(answer.headers["Location"], headers={"Range": "bytes=0-7"}, trust_env=False)
        assert (part.status_code, part.content) == (206, b"\x89PNG\r\n\x1a\n")
        head = httpx.head(web.head(url).headers["Location"], trust_env=False)
        assert (head.status_code, head.headers["Content-Length"]) == (200, str(image["bytes"]))
        changed = re.sub("Expires=60", "Expires=3600", answer.headers["Location"])
        assert httpx.get(changed, trust_env=False).status_code == 403
    short = urlsplit(str(web.get(f"{image['url']}/link?expires_in=5").json()["url"])).path
    assert "X-Amz-Expires=60" not in web.get(short).headers["Location"], "it works no longer than the link"
    with Client(str(web.base_url)) as client:
        view = client.job(job.id).images[0]
        assert hashlib.sha256(client.download(view)).hexdigest() == image["sha256"]
        assert client.convert(view, "webp")[8:12] == b"WEBP"


def test_what_the_bucket_cannot_deliver_passes_through_the_web_server(service: Service, web: httpx.Client) -> None:
    [job] = service.wait(service.submit(1))
    [image] = web.get(f"/api/v1/jobs/{job.id}").json()["images"]
    saved = web.get(f"{image['url']}?download=true")
    assert (saved.status_code, hashlib.sha256(saved.content).hexdigest()) == (200, image["sha256"])
    assert image["id"] in saved.headers["Content-Disposition"]
    for mode, status in (("cors", 200), ("same-origin", 200), ("no-cors", 307), ("navigate", 307)):
        assert web.get(image["url"], headers={"Sec-Fetch-Mode": mode}).status_code == status, mode
    webp = f"{image['url']}?format=webp"
    assert web.get(webp).headers["Content-Type"] == "image/webp"  # made now
    moved = web.get(webp)
    assert moved.status_code == 307
    assert httpx.get(moved.headers["Location"], trust_env=False).headers["Content-Type"] == "image/webp"
    assert web.get(image["url"], headers={"If-None-Match": saved.headers["ETag"]}).status_code == 304
    policy = web.get("/").headers["Content-Security-Policy"]
    assert f"img-src 'self' data: blob: {service.settings.delivery_endpoint};" in policy
    key = f"{image['sha256'][:2]}/{image['sha256']}"
    Store(BUCKET).move(key, f"aside/{key}")
    assert hashlib.sha256(web.get(image["url"]).content).hexdigest() == image["sha256"], "it is set aside"
    Store(BUCKET).delete(f"aside/{key}")
    assert web.get(image["url"]).status_code == 404


def test_a_deleted_picture_has_no_url(service: Service, web: httpx.Client) -> None:
    [job] = service.wait(service.submit(1))
    [image] = web.get(f"/api/v1/jobs/{job.id}").json()["images"]
    link = urlsplit(str(web.get(f"{image['url']}/link").json()["url"])).path
    assert web.get(link).status_code == 307
    assert web.delete(image["url"]).status_code == 204
    eventually(lambda: web.get(link).status_code == 404)
    assert web.get(image["url"]).status_code == 404
