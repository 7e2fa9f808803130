"""How much around a mask is drawn, as each API's clients ask for it: as a native request's `padding_mask_crop`."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_a1111 import waiting_job
from tests.api.test_input_images import CARD, data_url
from tests.api.test_reference_pictures import newest

PREDICTIONS = "/replicate/v1/models/limner/painter/predictions"
WHITE = data_url(Image.new("RGB", (64, 32), "white"))
MASKED = {"prompt": "a boat", "image": WHITE, "mask": WHITE}


@pytest.fixture
def app(make_app: Callable[..., App], tmp_path: Path) -> App:
    card = tmp_path / "painter.toml"
    card.write_text(CARD.replace('"null"', '"diffusers"'))
    return make_app(models=(card,), default_model="painter")


def predict(client: ApiClient, **given: Any) -> Any:
    return client.post(PREDICTIONS, json={"input": MASKED | given})


def ask(client: ApiClient, **given: Any) -> Any:
    """Call the model as Hugging Face's `image_to_image` does."""
    parameters = {"prompt": "a boat", "mask_image": WHITE} | given
    return client.post("/hf/models/painter", json={"inputs": WHITE, "parameters": parameters})


def test_a_prediction_draws_only_around_its_mask(app: App, client: ApiClient):
    made = predict(client, padding_mask_crop=0)
    assert (made.status_code, made.json["input"]["padding_mask_crop"]) == (201, 0), made.text
    assert newest(app).get("padding_mask_crop") == 0
    assert "padding_mask_crop" not in predict(client).json["input"]
    assert newest(app).get("padding_mask_crop") is None
    for wrong in (-1, 70_000, "8 pixels"):
        refused = predict(client, padding_mask_crop=wrong)
        assert (refused.status_code, "padding_mask_crop" in refused.json["detail"]) == (422, True), wrong
    refused = predict(client, mask=None, padding_mask_crop=8)
    assert refused.json["detail"].startswith("padding_mask_crop: ")


def test_only_a_model_that_can_has_it_in_its_schema(client: ApiClient):
    models = client.get("/replicate/v1/models").json["results"]
    inputs = {
        each["name"]: each["latest_version"]["openapi_schema"]["components"]["schemas"]["Input"]["properties"]
        for each in models
    }
    assert inputs["painter"]["padding_mask_crop"]["minimum"] == 0
    assert not [name for name, given in inputs.items() if "padding_mask_crop" in given and name != "painter"]


def test_hugging_faces_calls_take_a_mask_and_draw_only_around_it(app: App, client: ApiClient):
    for given in ({"padding_mask_crop": 8}, {"mask_image": WHITE.partition(",")[2]}):
        with ThreadPoolExecutor(1) as threads:
            answer = threads.submit(ask, app.test_client(), **given)
            finish(app, start(app, waiting_job(app, answer)), png("red"))
        assert answer.result().status_code == 200, answer.result().text
        assert newest(app)["mask"] is not None
        assert newest(app).get("padding_mask_crop") == given.get("padding_mask_crop")


def test_hugging_faces_calls_name_what_they_cannot_have(client: ApiClient):
    for given, name in (
        ({"padding_mask_crop": -1}, "padding_mask_crop"),
        ({"padding_mask_crop": 8, "mask_image": None}, "padding_mask_crop"),
        ({"mask_image": "x"}, "mask_image"),
    ):
        refused = ask(client, **given)
        assert (refused.status_code, name in refused.text) == (422, True), refused.text
    for name, value in (("mask_image", WHITE), ("padding_mask_crop", 8)):
        refused = client.post("/hf/models/painter", json={"inputs": "a boat", "parameters": {name: value}})
        assert (refused.status_code, f"parameters.{name}" in refused.text) == (422, True), refused.text
