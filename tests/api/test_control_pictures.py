"""Control pictures as each API's clients give them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from limner_web.a1111.options import Options
from limner_web.a1111.parameters import TextToImage, read
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_input_images import CARD, data_url, stored

PICTURE = data_url(Image.new("RGB", (64, 32), "blue"))


@pytest.fixture
def app(make_app: Callable[..., App], tmp_path: Path):
    card = tmp_path / "painter.toml"
    card.write_text(f"{CARD}[control]\nscale = {{ min = 0.0, max = 2.0, default = 0.8 }}\n")
    return make_app(models=(card,), default_model="painter")


def test_a_unit_of_a1111_gives_the_control_picture(app: App):
    unit = {"input_image": PICTURE.partition(",")[2], "module": "none", "model": "canny", "weight": 0.5}
    unit |= {"guidance_start": 0.25, "guidance_end": 0.75, "resize_mode": 2, "pixel_perfect": True}
    body = {"prompt": "a cat", "alwayson_scripts": {"controlnet": {"args": [unit]}}}
    catalogue = app.extensions["limner"].catalogue
    asked = read(body, TextToImage, Options(), catalogue)
    _, spec = catalogue.resolve(asked.job)
    assert (spec.control_image, spec.control_scale, spec.control_start, spec.control_end) == (PICTURE, 0.5, 0.25, 0.75)
    names = [warning.partition(":")[0].rpartition(".")[2] for warning in asked.warnings]
    assert names == ["model", "resize_mode"], "what is done in another way is said"


def test_a_unit_that_is_not_enabled_counts_as_none(client: ApiClient):
    body = {"prompt": "a cat", "alwayson_scripts": {"ControlNet": {"args": [{"enabled": False, "image": "x"}]}}}
    refused = client.post("/sdapi/v1/txt2img", json=body)
    assert refused.status_code == 422
    assert refused.json["detail"].startswith("alwayson_scripts.controlnet.args[0].image: painter without a control")


def test_a_prediction_gives_the_control_picture_by_the_schema_of_its_model(app: App, client: ApiClient):
    [model] = [each for each in client.get("/replicate/v1/models").json["results"] if each["name"] == "painter"]
    schema = model["latest_version"]["openapi_schema"]["components"]["schemas"]["Input"]
    assert schema["required"] == ["prompt", "control_image"]
    assert schema["properties"]["controlnet_conditioning_scale"]["default"] == 0.8
    given = {"prompt": "a cat", "control_image": PICTURE, "condition_scale": 1.5, "control_guidance_end": 0.5}
    made = client.post("/replicate/v1/models/limner/painter/predictions", json={"input": given})
    assert made.status_code == 201, made.text
    job = client.get(f"/api/v1/jobs/{made.json['id']}").json
    assert (job["control_scale"], job["control_end"]) == (1.5, 0.5)
    assert made.json["input"]["controlnet_conditioning_scale"] == 1.5
    assert "control_image" not in made.json["input"]


def test_the_cost_of_a_picture_is_told_without_its_control_picture(client: ApiClient):
    assert client.get("/api/v1/estimate?model=painter&steps=3").json["cost"] == 3
    bulk = {"jobs": [{"model": "painter", "count": 2}]}
    assert client.post("/api/v1/estimate", json=bulk).json["cost"] == 6
    asked = client.post("/api/v1/interpret", json={"description": "a cat", "model": "painter"})
    assert asked.json["code"] == "interpreter_unavailable", "no worker runs here"


def test_a_picture_that_was_drawn_can_be_followed_and_replayed(app: App, client: ApiClient):
    first = client.post("/api/v1/jobs", json={"prompt": "a boat", "control_image": PICTURE})
    assert stored(app, first, "control_image").getpixel((0, 0)) == (0, 0, 255)
    finish(app, start(app, first.json["id"]), png("green"), receipt={"buckets": [[1, 3]]})
    image = client.get(f"/api/v1/jobs/{first.json['id']}").json["images"][0]["id"]
    second = client.post("/api/v1/jobs", json={"prompt": "a boat", "control_image": image})
    assert stored(app, second, "control_image").getpixel((0, 0)) == (0, 128, 0)
    replayed = client.post(f"/api/v1/jobs/{first.json['id']}/replay")
    assert (replayed.status_code, replayed.json["control_image"]) == (202, first.json["control_image"])
