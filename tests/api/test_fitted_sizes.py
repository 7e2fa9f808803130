"""Sizes of models elsewhere whose names lead to a model here: Replicate's and Hugging Face's programs get them."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from limner_shared.domain.predictions import MARK, OutputForm
from tests.api.clients import App
from tests.api.fake_worker import finish, png, start
from tests.api.test_built_in_habits import drawn

FLUX = "black-forest-labs/flux-schnell"
ALIASES = dict.fromkeys((FLUX, "39ed52f2", "stabilityai/sdxl"), "limner-gan")
NAMED = f"/replicate/v1/models/{FLUX}/predictions"
OWN = "/replicate/v1/models/limner/limner-gan/predictions"


@pytest.fixture
def app(make_app: Callable[..., App]) -> App:
    return make_app(model_aliases=ALIASES)


def predict(app: App, path: str = NAMED, **given: Any) -> Any:
    return app.test_client().post(path, json={"input": {"prompt": "a cat"} | given})


def size_of(file: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(file)).size


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ({"aspect_ratio": "16:9"}, (336, 192)),
        ({"aspect_ratio": "16:9", "megapixels": "1"}, (1360, 768)),
        ({"megapixels": "1", "output_format": "webp"}, (1024, 1024)),
        ({"width": 1024, "height": 768}, (1024, 768)),
        ({"size": "1024x768", "output_format": "jpg"}, (1024, 768)),
    ],
)
def test_a_prediction_of_an_alias_is_scaled_to_the_size_that_it_asks_for(
    app: App, given: dict[str, Any], size: tuple[int, int]
):
    made = predict(app, **given)
    width, height = size
    assert made.status_code == 201, made.text
    assert f"size {width}x{height} is not drawn here" in made.headers["Warning"]
    assert (made.json["input"]["width"], made.json["input"]["height"]) == size
    finish(app, start(app, made.json["id"]), png("red"))
    client, url = app.test_client(), f"/replicate/v1/predictions/{made.json['id']}"
    [data] = client.get(url, headers={"X-Output-Files": "data"}).json["output"]
    [link] = client.get(url, headers={"X-Output-Files": "url"}).json["output"]
    files = base64.b64decode(data.partition(",")[2]), client.get(link.removeprefix("http://localhost")).data
    assert [size_of(file) for file in files] == [size, size]


def test_a_version_of_a_model_elsewhere_alone_is_scaled_too(app: App):
    body = {"version": "39ed52f2", "input": {"prompt": "a cat", "aspect_ratio": "3:2"}}
    made = app.test_client().post("/replicate/v1/predictions", json=body)
    assert (made.status_code, made.json["input"]["width"]) == (201, 320), made.text
    own = app.test_client().get("/replicate/v1/models/limner/limner-gan").json["latest_version"]["id"]
    assert app.test_client().post("/replicate/v1/predictions", json=body | {"version": own}).status_code == 422


def test_a_size_is_refused_by_name_for_a_models_own_name_and_beyond_what_is_scaled_to(app: App):
    for path, given, name in (
        (OWN, {"aspect_ratio": "16:9"}, "aspect_ratio"),
        (OWN, {"width": 1024, "height": 1024}, "width"),
        (NAMED, {"megapixels": "64"}, "megapixels"),
        (NAMED, {"width": 4096, "height": 4096}, "width"),
        (NAMED, {"width": 0, "height": 64}, "width"),
        (NAMED, {"size": "huge"}, "size"),
        (NAMED, {"aspect_ratio": "match_input_image"}, "aspect_ratio"),
    ):
        refused = predict(app, path, **given)
        assert (refused.status_code, refused.json["detail"].partition(":")[0]) == (422, name), refused.text


def test_the_operator_decides_for_all_names(make_app: Callable[..., App]):
    assert predict(make_app(unknown_sizes="fit"), OWN, aspect_ratio="16:9").status_code == 201
    strict = make_app(model_aliases=ALIASES, unknown_sizes="refuse")
    assert predict(strict, aspect_ratio="16:9").status_code == 422


def test_a_picture_for_hugging_faces_client_is_scaled_where_its_name_is_of_a_model_elsewhere(app: App):
    body = {"inputs": "a cat", "parameters": {"width": 1024, "height": 768}}
    answer = drawn(app, "/hf/models/stabilityai/sdxl", body)
    assert size_of(answer.data) == (1024, 768)
    assert "size 1024x768 is not drawn here" in answer.headers["Warning"]
    assert app.test_client().post("/hf/models/limner-gan", json=body).status_code == 422


@pytest.mark.parametrize("damaged", [[0, 8], [30_000, 8], [8], "8x8"])
def test_metadata_that_any_client_wrote_cannot_ask_for_a_huge_picture(damaged: Any):
    assert OutputForm.read({MARK: {"fit": damaged}}).fit is None
