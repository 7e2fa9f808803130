"""Control pictures as each API's clients give them."""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import webuiapi
from PIL import Image
from sqlalchemy import select

from limner_shared.db.engine import Database
from limner_shared.db.tables import Job
from limner_web.a1111.options import Options
from limner_web.a1111.parameters import TextToImage, read
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_a1111 import waiting_job
from tests.api.test_built_in_habits import drawn
from tests.api.test_conversations import begin, say
from tests.api.test_input_images import CARD, data_url, stored
from tests.api.test_keys import make_key
from tests.api.test_openai_edits import RED, file

UNIT: Any = webuiapi.ControlNetUnit
"""Of any type: its own names a module where it takes a picture."""
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


def test_a_part_of_the_steps_that_is_empty_is_not_taken_as_all_of_them(client: ApiClient):
    unit = {"input_image": PICTURE, "model": "canny", "guidance_start": 1.0, "guidance_end": 1.0}
    answer = client.post(
        "/sdapi/v1/txt2img", json={"prompt": "a cat", "alwayson_scripts": {"controlnet": {"args": [unit]}}}
    )
    assert answer.status_code == 422
    assert "control_start" in answer.json["detail"]


def test_a_unit_of_webuiapi_is_taken_as_it_sends_it(app: App):
    unit = UNIT(image=Image.new("RGB", (64, 32), "blue"), model="canny").to_dict()
    catalogue = app.extensions["limner"].catalogue
    asked = read(
        {"prompt": "a cat", "alwayson_scripts": {"ControlNet": {"args": [unit]}}}, TextToImage, Options(), catalogue
    )
    _, spec = catalogue.resolve(asked.job)
    assert (spec.control_image, spec.control_scale) == (f"data:image/png;base64,{unit['image']}", 1.0)


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


def test_usage_counts_the_control_picture(app: App):
    body = {"prompt": "a cat", "control_image": PICTURE}
    usage = drawn(app, "/v1/images/generations", body).json["usage"]
    assert usage["input_tokens_details"] == {"text_tokens": 2, "image_tokens": 1}


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


def specs(app: App) -> list[dict[str, Any]]:
    with app.extensions["limner"].database.read() as session:
        return list(session.scalars(select(Job.spec).order_by(Job.id)))


def test_openais_calls_take_the_control_picture_beside_their_own_parameters(app: App, client: ApiClient):
    given = {"prompt": "a boat", "control_image": PICTURE, "control_scale": 1.5, "control_end": 0.5, "stream": True}
    assert client.post("/v1/images/generations", json=given).status_code == 200
    form = {"prompt": "a boat", "image": file(RED), "control_image": file(RED), "control_scale": "0.25"}
    sent = client.post("/v1/images/edits", data={"stream": "true"} | form, content_type="multipart/form-data")
    assert sent.status_code == 200, sent.text
    made, edited = specs(app)
    assert (len(made["control_image"]), made["control_scale"], made["control_end"]) == (64, 1.5, 0.5)
    assert (len(edited["image"]), len(edited["control_image"]), edited["control_scale"]) == (64, 64, 0.25)
    refused = client.post("/v1/images/generations", json={"prompt": "a boat"})
    assert (refused.status_code, refused.json["error"]["param"]) == (422, "control_image")


def test_hugging_faces_calls_take_the_control_picture_among_their_parameters(app: App, client: ApiClient):
    bare = PICTURE.partition(",")[2]
    given = {"inputs": "a boat", "parameters": {"control_image": bare, "control_scale": 0.5, "control_start": 0.25}}
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(app.test_client().post, "/hf/models/painter", json=given)
        finish(app, start(app, waiting_job(app, answer)), png("red"))
    assert answer.result().status_code == 200
    [made] = specs(app)
    assert (len(made["control_image"]), made["control_scale"], made["control_start"]) == (64, 0.5, 0.25)
    refused = client.post("/hf/models/painter", json={"inputs": "a boat"})
    assert (refused.status_code, "control_image" in refused.text) == (422, True)


def test_the_messages_of_a_conversation_go_on_with_its_control_picture(app: App, client: ApiClient):
    conversation = begin(client, "a boat", control_image=PICTURE, control_scale=0.5)
    [first] = conversation["turns"]
    second = say(client, conversation, "bluer", image="none")
    assert second["job"]["control_image"] == first["job"]["control_image"]
    assert second["job"]["control_scale"] == 0.5
    other = data_url(Image.new("RGB", (64, 32), "red"))
    third = say(client, conversation, "greener", control_image=other, control_scale=1.5)
    assert third["job"]["control_image"] != first["job"]["control_image"]
    assert say(client, conversation, "darker")["job"]["control_scale"] == 1.5
    refused = client.post("/api/v1/conversations", json={"message": "a boat"})
    assert (refused.status_code, refused.json["field"]) == (422, "control_image")


def test_a_job_is_drawn_again_with_the_pictures_that_it_was_given(app: App, client: ApiClient):
    pictures = {"control_image": PICTURE, "image": data_url(Image.new("RGB", (64, 32), "red"))}
    pictures["mask"] = data_url(Image.new("L", (64, 32), 255))
    first = client.post("/api/v1/jobs", json={"prompt": "a boat"} | pictures).json
    again = client.post("/api/v1/jobs", json={"prompt": "a ship"} | dict.fromkeys(pictures, first["id"]))
    assert again.status_code == 202, again.text
    assert [again.json[name] for name in pictures] == [first[name] for name in pictures]
    for field, colour in {"image": (255, 0, 0), "control_image": (0, 0, 255)}.items():
        shown = client.get(f"/api/v1/jobs/{first['id']}/input?field={field}")
        with Image.open(io.BytesIO(shown.data)) as picture:
            assert picture.getpixel((0, 0)) == colour


def test_the_pictures_of_a_job_are_its_owners_and_are_gone_with_it(
    make_app: Callable[..., App], tmp_path: Path, database: Database, app: App
):
    mine, yours = make_key(database, "mine"), make_key(database, "yours")
    client = make_app(models=(tmp_path / "painter.toml",), default_model="painter", require_keys=True).test_client()
    job = client.post("/api/v1/jobs", json={"prompt": "a boat", "control_image": PICTURE}, headers=mine).json["id"]
    again = {"prompt": "a boat", "control_image": job}
    refused = client.post("/api/v1/jobs", json=again, headers=yours)
    assert (refused.status_code, refused.json["field"]) == (422, "control_image")
    without = {"prompt": "a boat", "control_image": PICTURE, "image": job}
    assert "has none" in client.post("/api/v1/jobs", json=without, headers=mine).json["detail"]
    assert client.post("/api/v1/jobs", json=again, headers=mine).status_code == 202
    assert client.post(f"/api/v1/jobs/{job}/cancel", headers=mine).status_code == 200
    assert client.delete(f"/api/v1/jobs/{job}", headers=mine).status_code == 204
    assert "may have been deleted" in client.post("/api/v1/jobs", json=again, headers=mine).json["detail"]
