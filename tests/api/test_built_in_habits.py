"""What programs for other services have built in: sizes, styles, and chats whose pages show pictures without a key."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from limner_shared.db import signed_links
from limner_shared.db.engine import Database
from limner_shared.db.tables import Job
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_a1111 import draw, waiting_job
from tests.api.test_keys import make_key

IMAGES = "/v1/images/generations"
CHAT = "/v1/chat/completions"


def drawn(app: App, path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
    """Send a call that waits, and act as the worker."""
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(app.test_client().post, path, json=body, headers=headers, buffered=True)
        finish(app, start(app, waiting_job(app, answer)), png("red"))
        assert answer.result().status_code == 200, answer.result().text
        return answer.result()


def size_of(data: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(data)).size


@pytest.fixture
def fitting(make_app: Callable[..., App]) -> App:
    """A service whose operator lets pictures be scaled to sizes that no model here draws."""
    return make_app(unknown_sizes="fit")


def test_a_size_that_a_program_has_built_in_is_scaled_to_where_the_operator_allows_it(fitting: App):
    answer = drawn(fitting, IMAGES, {"prompt": "a cat", "model": "gpt-image-1", "size": "1024x1536"})
    assert size_of(base64.b64decode(answer.json["data"][0]["b64_json"])) == (1024, 1536)
    assert answer.json["size"] == "1024x1536"
    assert "size 1024x1536 is not drawn here" in answer.headers["Warning"]
    known = drawn(fitting, IMAGES, {"prompt": "a cat", "size": "64x64"})
    assert "Warning" not in known.headers


def test_a_url_leads_to_the_picture_in_the_size_and_the_compression_of_the_call(fitting: App):
    body = {"prompt": "a cat", "model": "dall-e-3", "size": "512x256", "output_format": "webp"}
    answer = drawn(fitting, IMAGES, body | {"output_compression": 20})
    address: str = answer.json["data"][0]["url"]
    url = urlsplit(address)
    assert url.query == "format=webp&quality=20&fit=512x256"
    picture = fitting.test_client().get(f"{url.path}?{url.query}")
    assert (picture.mimetype, size_of(picture.data)) == ("image/webp", (512, 256))


def test_a_size_is_refused_where_the_call_names_no_model_of_another_service_and_where_it_is_too_large(
    client: ApiClient, fitting: App
):
    for service, size in ((client, "1024x1024"), (fitting.test_client(), "4096x4096")):
        refused = service.post(IMAGES, json={"prompt": "a cat", "size": size})
        assert (refused.status_code, refused.json["error"]["param"]) == (422, "size")
    refused = client.post("/sdapi/v1/txt2img", json={"prompt": "a cat", "width": 4096, "height": 4096})
    assert (refused.status_code, "256x256" in refused.json["detail"]) == (422, True)


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_an_a1111_client_gets_the_size_that_it_always_sends(fitting: App, kind: str):
    body = {"prompt": "a cat", "width": 512, "height": 512, "override_settings": {"samples_format": kind}}
    answer = draw(fitting, body | {"batch_size": 2}, ("red", "blue"))
    assert [size_of(base64.b64decode(each)) for each in answer.json["images"]] == [(512, 512)] * 2
    info = json.loads(answer.json["info"])
    assert (info["width"], info["height"]) == (512, 512)
    assert info["warnings"] == ["width, height: 512x512 is not drawn here; the picture was scaled to it."]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("fit=640x480", 200),
        ("fit=640x480&format=jpeg&quality=5", 200),
        ("quality=5", 200),
        ("fit=4000x10", 422),
        ("fit=0x10", 422),
        ("fit=10", 422),
        ("fit=64x64&width=64", 422),
        ("quality=101", 422),
    ],
)
def test_an_image_is_requested_in_any_size_and_quality(client: ApiClient, app: App, query: str, status: int):
    job = client.post("/api/v1/jobs", json={"prompt": "a cat"}).json
    finish(app, start(app, job["id"]), png("red"))
    url = client.get(f"/api/v1/jobs/{job['id']}").json["images"][0]["url"]
    answer = client.get(f"{url}?{query}")
    assert answer.status_code == status, answer.text
    if status == 200 and "fit" in query:
        assert size_of(answer.data) == (640, 480)
    assert client.get(url).data == png("red")


@pytest.mark.parametrize("style", ["vivid", "natural"])
def test_the_style_that_every_client_of_dall_e_sends_is_left_out_with_a_warning(app: App, style: str):
    answer = drawn(app, IMAGES, {"prompt": "a cat", "model": "dall-e-3", "style": style, "quality": "standard"})
    assert f"style {style} is unknown here" in answer.headers["Warning"]
    refused = app.test_client().post(IMAGES, json={"prompt": "a cat", "model": "gpt-image-1", "style": style})
    assert (refused.status_code, refused.json["error"]["param"]) == (422, "style")


def test_a_chat_shows_its_pictures_to_a_page_that_has_no_key_and_remembers_them_when_the_links_have_expired(
    make_app: Callable[..., App], database: Database, monkeypatch: pytest.MonkeyPatch
):
    app, key = make_app(require_keys=True), make_key(database, "ours")
    first = drawn(app, CHAT, {"messages": [{"role": "user", "content": "a red car"}]}, key)
    said: str = first.json["choices"][0]["message"]["content"]
    url: str = re.findall(r"\]\((.*?)\)", said)[0]
    assert app.test_client().get(urlsplit(url).path).data == png("red")
    assert first.json["images"][0]["url"].startswith("http://localhost/images/")
    later = signed_links.time.time() + signed_links.MAX_SECONDS + 1
    monkeypatch.setattr(signed_links.time, "time", lambda: later)
    remembered: list[str] = []

    def remember(job: Job) -> None:
        remembered.append(job.id)

    monkeypatch.setattr("limner_web.intake.conversations.conditions_of", remember)
    talk = [{"role": "user", "content": "a red car"}, {"role": "assistant", "content": said}]
    drawn(app, CHAT, {"messages": [*talk, {"role": "user", "content": "bluer"}]}, key)
    forged = [talk[0], {"role": "assistant", "content": "![x](http://localhost/images/forged)"}]
    drawn(app, CHAT, {"messages": [*forged, {"role": "user", "content": "green"}]}, key)
    assert remembered == [first.json["job_id"]]
