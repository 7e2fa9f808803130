"""Hugging Face's inference calls: what they ask for, files as answers, refusals. The client has end-to-end tests."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import select

from limner_shared.db.tables import Job
from limner_shared.errors import GenerationFailed
from tests.api.clients import Answer, ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_a1111 import waiting_job
from tests.api.test_bulks import rows
from tests.api.test_input_images import data_url
from tests.api.test_openai_batches import fail
from tests.api.test_openai_edits import stored
from tests.models import CANVAS

PATH = "/hf/models/canvas"
RED = base64.b64encode(png("red")).decode()


@pytest.fixture
def app(make_app: Callable[..., App]) -> App:
    """A service whose only model takes pictures."""
    return make_app(models=(CANVAS,), default_model="canvas")


def drawn(app: App, body: dict[str, Any], path: str = PATH, **headers: str) -> Answer:
    """The answer to a call whose job a worker finishes with a red picture."""
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(app.test_client().post, path, json=body, headers=headers)
        finish(app, start(app, waiting_job(app, answer)), png("red"))
    return answer.result()


def spec(app: App) -> dict[str, Any]:
    with app.extensions["limner"].database.read() as session:
        return session.scalars(select(Job.spec)).one()


def test_the_answer_is_the_picture_and_names_its_job_and_seed(app: App, client: ApiClient):
    answer = drawn(app, {"inputs": "a cat", "parameters": {"seed": 7, "width": 32, "height": 64}})
    assert (answer.status_code, answer.mimetype, answer.data) == (200, "image/png", png("red"))
    assert answer.headers["X-Limner-Seed"] == "7"
    job = client.get(f"/api/v1/jobs/{answer.headers['X-Limner-Job']}").json
    assert (job["prompt"], job["seed"], job["width"], job["height"], job["n"]) == ("a cat", 7, 32, 64, 1)


def test_every_parameter_reaches_the_job(app: App):
    given = {"negative_prompt": "x", "num_inference_steps": 9, "guidance_scale": 5, "scheduler": "ddim", "style": "oil"}
    assert drawn(app, {"inputs": "a cat", "parameters": given}).status_code == 200
    made = spec(app)
    names = ("negative_prompt", "steps", "guidance", "scheduler", "style")
    assert [made[name] for name in names] == ["x", 9, 5.0, "ddim", "oil"]


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_the_picture_comes_in_the_format_that_the_client_accepts(app: App, kind: str):
    answer = drawn(app, {"inputs": "a cat"}, Accept=f"image/{kind}")
    assert answer.mimetype == f"image/{kind}"
    with Image.open(io.BytesIO(answer.data)) as picture:
        assert picture.format == kind.upper()


def test_a_prompt_among_the_parameters_makes_it_an_edit_of_the_inputs_in_the_nearest_size(app: App):
    tall = io.BytesIO()
    Image.new("RGB", (30, 70), "blue").save(tall, "JPEG")
    body = {"inputs": base64.b64encode(tall.getvalue()).decode(), "parameters": {"prompt": "a dog", "strength": 0.5}}
    assert drawn(app, body).status_code == 200
    made = spec(app)
    assert (made["prompt"], made["strength"], made["width"], made["height"]) == ("a dog", 0.5, 32, 64)
    pixel: Any = stored(app, made["image"]).getpixel((3, 3))
    assert pixel[2] > 250


@pytest.mark.parametrize("what", ["a picture", "the input of a job"])
def test_an_edit_of_what_the_service_has_has_its_size(app: App, client: ApiClient, what: str):
    wide = {"inputs": data_url(Image.new("RGB", (64, 32), "red")), "parameters": {"prompt": "a dog"}}
    first = client.get(f"/api/v1/jobs/{drawn(app, wide).headers['X-Limner-Job']}").json
    known = first["images"][0]["id"] if what == "a picture" else first["id"]
    again = drawn(app, {"inputs": known, "parameters": {"prompt": "a cat"}})
    assert again.status_code == 200, again.text
    job = client.get(f"/api/v1/jobs/{again.headers['X-Limner-Job']}").json
    assert (job["width"], job["height"]) == ((64, 64) if what == "a picture" else (64, 32))


def test_an_edit_has_the_size_that_it_asks_for(app: App):
    parameters = {"prompt": "a dog", "target_size": {"width": 64, "height": 64}}
    assert drawn(app, {"inputs": RED, "parameters": parameters}).status_code == 200
    assert (spec(app)["width"], spec(app)["height"]) == (64, 64)


def test_a_name_that_stands_for_a_model_is_accepted_with_its_owner(make_app: Callable[..., App]):
    app = make_app(models=(CANVAS,), default_model="canvas", model_aliases={"stabilityai/sdxl": ""})
    assert drawn(app, {"inputs": "a cat"}, "/hf/models/stabilityai/sdxl").status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({}, 422, "inputs"),
        ({"inputs": ""}, 422, "Describe the picture"),
        ({"inputs": "x", "parameters": {"num_images": 2}}, 422, "parameters.num_images"),
        ({"inputs": "x", "options": {}}, 422, "options"),
        ({"inputs": "x", "parameters": {"width": 7}}, 422, "width: "),
        ({"inputs": "x", "parameters": {"num_inference_steps": 0}}, 422, "num_inference_steps: "),
        ({"inputs": "x", "parameters": {"strength": 0.5}}, 422, "parameters.strength: strength in this task"),
        ({"inputs": RED, "parameters": {"prompt": "x", "width": 64}}, 422, "allowed: target_size"),
        ({"inputs": RED, "parameters": {"prompt": "x", "target_size": {"width": 7, "height": 7}}}, 422, "target_size:"),
        ({"inputs": "é", "parameters": {"prompt": "x"}}, 422, "inputs: "),
        ({"inputs": "YWJj", "parameters": {"prompt": "x"}}, 422, "inputs: the data is not an image"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name_in_the_clients_form(
    client: ApiClient, app: App, body: dict[str, Any], status: int, told: str
):
    answer = client.post(PATH, json=body)
    assert (answer.status_code, answer.json["code"]) == (status, "invalid_request"), answer.text
    assert told in answer.json["error"]
    assert rows(app, Job) == 0


def test_an_unknown_model_a_foreign_format_and_a_raw_picture_are_refused(client: ApiClient):
    assert client.post("/hf/models/none", json={"inputs": "x"}).json["code"] == "model_not_found"
    assert client.post(PATH, json={"inputs": "x"}, headers={"Accept": "text/html"}).json["code"] == "not_acceptable"
    raw = client.post(PATH, data=png("red"), content_type="image/png")
    assert (raw.status_code, raw.json["code"]) == (415, "unsupported_media_type")


def test_a_job_that_fails_is_an_error_in_the_clients_form(app: App):
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(app.test_client().post, PATH, json={"inputs": "x"})
        fail(app, waiting_job(app, answer))
    refused = answer.result()
    assert (refused.status_code, refused.json["code"]) == (500, GenerationFailed.code)
    assert refused.json["error"]
