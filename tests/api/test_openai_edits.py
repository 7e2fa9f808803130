"""Edits and variations in OpenAI's form: how the images of a form or of JSON reach the job, and what is refused."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from typing import Any, cast

import pytest
from PIL import Image

from limner_shared.db.tables import Job
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, start
from tests.api.test_bulks import rows
from tests.models import CANVAS

EDITS, VARIATIONS = "/v1/images/edits", "/v1/images/variations"


@pytest.fixture
def app(make_app: Callable[..., App]):
    return make_app(models=(CANVAS,), default_model="canvas")


def encoded(picture: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


def data_url(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


RED = encoded(Image.new("RGB", (128, 64), "red"))
HALF = Image.new("RGBA", (128, 64), "black")
HALF.paste((0, 0, 0, 0), (0, 0, 64, 64))
LEFT = encoded(HALF)
NOISE = encoded(Image.effect_noise((64, 32), 99).convert("RGB"))


def file(data: bytes) -> tuple[io.BytesIO, str]:
    return io.BytesIO(data), "picture"


def listed(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else [value]


def post(client: ApiClient, body: dict[str, Any], path: str = EDITS):
    """Send a form if there are files in it, and JSON otherwise. A stream: nothing waits for a worker."""
    is_form = any(isinstance(each, tuple) for value in body.values() for each in listed(value))
    if is_form:
        return client.post(path, data={"stream": "true"} | body, content_type="multipart/form-data")
    return client.post(path, json={"stream": True} | body)


def made(app: App, client: ApiClient, body: dict[str, Any], path: str = EDITS) -> dict[str, Any]:
    """The job that a call makes."""
    with post(client, {"prompt": "a boat"} | body, path) as answer:
        assert answer.status_code == 200, answer.json
    return client.get("/api/v1/jobs").json["items"][0]


def stored(app: App, digest: str) -> Image.Image:
    return Image.open(io.BytesIO(app.extensions["limner"].blobs.get_input(digest)))


@pytest.mark.parametrize("name", ["image", "image[]"])
def test_a_form_with_one_image_makes_an_image_to_image_job(app: App, client: ApiClient, name: str):
    job = made(app, client, {name: file(RED), "n": "2", "seed": "5", "strength": "0.5", "metadata": '{"page": 3}'})
    assert (job["n"], job["seed"], job["strength"], job["metadata"], job["mask"]) == (2, 5, 0.5, {"page": 3}, None)
    assert stored(app, job["image"]).getpixel((3, 3)) == (255, 0, 0)


def test_the_transparent_part_of_a_mask_may_change(app: App, client: ApiClient):
    job = made(app, client, {"image": file(RED), "mask": file(LEFT)})
    mask = stored(app, job["mask"])
    assert mask.size == (64, 32)
    assert (mask.getpixel((3, 3)), mask.getpixel((60, 3))) == ((255, 255, 255), (0, 0, 0))


def test_auto_takes_the_size_nearest_to_the_image_and_a_size_is_kept(app: App, client: ApiClient):
    tall = encoded(Image.new("RGB", (60, 100)))
    job = made(app, client, {"image": file(tall)})
    assert (job["width"], job["height"]) == (32, 64)
    job = made(app, client, {"image": file(tall), "size": "64x64"})
    assert (job["width"], job["height"]) == (64, 64)


@pytest.mark.parametrize(
    "image",
    [
        {"image": data_url(RED)},
        {"image": [data_url(RED)]},
        {"images": [{"image_url": data_url(RED)}]},
        {"image": {"image_url": data_url(RED)}},
    ],
)
def test_json_has_images_as_data_urls(app: App, client: ApiClient, image: dict[str, Any]):
    job = made(app, client, image | {"mask": {"image_url": data_url(LEFT)}})
    assert stored(app, job["image"]).getpixel((3, 3)) == (255, 0, 0)
    assert stored(app, job["mask"]).getpixel((3, 3)) == (255, 255, 255)


def test_metadata_of_a_form_may_be_given_key_by_key(app: App, client: ApiClient):
    job = made(app, client, {"image": file(RED), "metadata[page]": "3", "metadata[book]": "x"})
    assert job["metadata"] == {"page": "3", "book": "x"}


REFUSED = [
    ({"prompt": "x"}, "image", "without an image"),
    ({"image": [file(RED), file(RED)]}, "image", "send one, not 2"),
    ({"image[]": [file(RED), file(RED)]}, "image", "send one, not 2"),
    ({"image": file(b"hello")}, "image", "not an image"),
    ({"image": file(NOISE[:2000])}, "image", "damaged"),
    ({"image": "http://example.org/boat.png"}, "image", "data URL"),
    ({"image": "data:image/png;base64,%%%"}, "image", "base64"),
    ({"image": 5}, "image", "data URL"),
    ({"images": [{"file_id": "file_1"}]}, "image", "uploaded file"),
    ({"image": "img_01arz3ndektsv4rrffq69g5fav"}, "image", "no image img_"),
    ({"image": file(RED), "mask": file(RED)}, "mask", "no transparency"),
    ({"image": file(RED), "mask": file(encoded(HALF.resize((64, 64))))}, "mask", "64x64 for an image of 128x64"),
    ({"image": file(RED), "mask": "img_01arz3ndektsv4rrffq69g5fav"}, "mask", "data URL"),
    ({"image": file(RED), "n": "two"}, "n", "a number"),
    ({"image": file(RED), "n": "9"}, "n", "1 to 4"),
    ({"image": file(RED), "prompt": ["x", "y"]}, "prompt", "more than once"),
    ({"image": file(RED), "adapters[][name]": "x"}, "adapters", "JSON text"),
    ({"image": file(RED), "metadata": "page"}, "metadata", "JSON text"),
    ({"image": file(RED), "markup": file(RED)}, "markup", "markup"),
    ({"image": file(RED), "input_fidelity": "full"}, "input_fidelity", "high"),
    ({"image": file(RED), "model": "limner-gan"}, "image", "Models with image-to-image: canvas"),
    ({"image": file(RED), "size": "100x100"}, "size", "64x32"),
    ({"image": file(RED), "n": "\x00"}, "n", "NUL"),
]


def test_what_cannot_be_edited_is_refused_by_name(app: App, client: ApiClient):
    for body, param, reason in REFUSED:
        answer = post(client, {"prompt": "a boat"} | body)
        assert answer.status_code == 422, (param, reason, answer.text)
        error = answer.json["error"]
        assert (error["param"], reason in error["message"]) == (param, True), (body, error)
    assert rows(app, Job) == 0


@pytest.mark.parametrize("value", ["high", "low"])
def test_the_fidelity_that_programs_always_send_is_reported_as_not_followed(client: ApiClient, value: str):
    with post(client, {"prompt": "a boat", "image": file(RED), "input_fidelity": value}) as answer:
        assert (answer.status_code, "strength says" in answer.headers["Warning"]) == (200, True)


def test_a_variation_of_an_own_picture_takes_its_prompt_and_another_needs_one(app: App, client: ApiClient):
    with client.post("/v1/images/generations", json={"prompt": "a blue bird", "stream": True}) as answer:
        assert answer.status_code == 200
    bird = encoded(Image.new("RGB", (64, 32), "blue"))
    first = client.get("/api/v1/jobs").json["items"][0]["id"]
    finish(app, start(app, first), bird)
    image = client.get(f"/api/v1/jobs/{first}").json["images"][0]["id"]
    for given in (file(bird), image):
        with post(client, {"image": given}, VARIATIONS) as answer:
            assert answer.status_code == 200
        assert client.get("/api/v1/jobs").json["items"][0]["prompt"] == "a blue bird"
    assert made(app, client, {"image": file(RED), "prompt": "a red sea"}, VARIATIONS)["prompt"] == "a red sea"
    refused = post(client, {"image": file(RED)}, VARIATIONS)
    assert (refused.status_code, refused.json["error"]["param"]) == (422, "prompt")


def test_a_form_that_is_cut_off_or_too_large_makes_nothing(app: App, client: ApiClient, make_app: Callable[..., App]):
    small = make_app(models=(CANVAS,), default_model="canvas", max_body_bytes=2000).test_client()
    answer = post(small, {"image": file(NOISE), "prompt": "x"})
    assert (answer.status_code, answer.json["error"]["code"]) == (413, "body_too_large")
    body = b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\na bo'
    answer = client.post(EDITS, data=body, content_type="multipart/form-data; boundary=x")
    assert answer.status_code in (400, 422)
    assert json.loads(answer.data)["error"]["message"]
    assert rows(app, Job) == 0


@pytest.mark.parametrize("path", [EDITS, VARIATIONS])
def test_a_form_with_a_part_without_a_name_is_refused(app: App, client: ApiClient, path: str):
    body = b"--x\r\nContent-Disposition: form-data\r\n\r\na boat\r\n--x--\r\n"
    answer = client.post(path, data=body, content_type="multipart/form-data; boundary=x")
    assert (answer.status_code, answer.json["error"]["code"]) == (400, "malformed_body")
    assert rows(app, Job) == 0
