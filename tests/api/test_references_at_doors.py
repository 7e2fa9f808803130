"""Reference pictures as each API's clients give them, and what is done in later messages of a conversation."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from replicate import Client
from replicate.helpers import encode_json
from sqlalchemy import select

from limner_shared.db.engine import Database
from limner_shared.db.tables import Job
from limner_web.a1111.options import Options
from limner_web.a1111.parameters import TextToImage, read
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_a1111 import waiting_job
from tests.api.test_built_in_habits import drawn
from tests.api.test_control_pictures import UNIT
from tests.api.test_conversations import begin, say
from tests.api.test_input_images import data_url
from tests.api.test_keys import make_key
from tests.api.test_reference_pictures import SMALL, TALL, app_of, newest

PREDICTIONS = "/replicate/v1/models/limner/painter/predictions"
TOOL = {"type": "image_generation"}
BLUE = Image.new("RGB", (64, 32), "blue")


@pytest.fixture
def app(make_app: Callable[..., App], tmp_path: Path) -> App:
    return app_of(make_app, tmp_path, '["text-to-image"]')


@pytest.fixture
def both(make_app: Callable[..., App], tmp_path: Path) -> App:
    """A model that can start from a picture, and takes references."""
    return app_of(make_app, tmp_path, '["text-to-image", "image-to-image"]')


def unit(**more: Any) -> dict[str, Any]:
    """A unit of an IP-Adapter as `webuiapi` sends it."""
    given = {"image": BLUE, "module": "ip-adapter_clip_sd15", "model": "ip-adapter_sd15 [6a3f6166]", "weight": 0.5}
    return UNIT(**given | more).to_dict()


def units(*given: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"prompt": "a cat", "alwayson_scripts": {"ControlNet": {"args": list(given)}}} | more


def test_units_of_an_ip_adapter_give_a1111s_references(app: App, client: ApiClient):
    catalogue = app.extensions["limner"].catalogue
    body = units(unit(), {"enabled": False, "module": "none"}, unit(control_mode=2, module="ip-adapter-auto"))
    asked = read(body, TextToImage, Options(), catalogue)
    _, spec = catalogue.resolve(asked.job)
    assert spec.reference_scale == 0.5
    assert [each.partition(",")[2] for each in spec.reference_images] == [unit()["image"]] * 2
    assert [told.partition(": ")[0].rpartition(".")[2] for told in asked.warnings] == ["model", "model"]
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(app.test_client().post, "/sdapi/v1/txt2img", json=body)
        finish(app, start(app, waiting_job(app, answer)), png("red"))
    assert answer.result().status_code == 200, answer.result().text
    assert len(newest(app)["reference_images"]) == 2


@pytest.mark.parametrize(
    ("args", "place", "reason"),
    [
        ([unit(), unit(weight=0.25)], "args[1].weight", "the same weight"),
        ([unit(guidance_end=0.5)], "args[0].guidance_end", "in all steps"),
        ([unit(guidance_start=0.5)], "args[0].guidance_start", "in all steps"),
        ([unit(image=None)], "args[0].image", "without a picture"),
        ([unit(weight=1.5)], "args[0].weight", "0 to 1"),
        ([{"enabled": False}, unit(weight=-1)], "args[1].weight", "0 to 1"),
        ([unit(), unit(), unit()], "args[0].module", "at most 2"),
        ([unit() | {"image": "aGVsbG8="}], "args[0].image", "not an image"),
        ([unit(), {"enabled": False}, unit() | {"image": "ü"}], "args[2].image", "base64"),
        ([unit() | {"image": "job_x"}], "args[0].image", "base64"),
        ([unit(), UNIT(image=BLUE).to_dict()], "args[1].image", "follows no control picture"),
        ([unit()] * 15, "alwayson_scripts.ControlNet.args", "at most 14"),
        ([unit(module="ip-adapter_face_id")], "alwayson_scripts.ControlNet.args.0.module", "ip-adapter"),
    ],
)
def test_a_unit_that_cannot_be_followed_is_refused_by_its_place(
    client: ApiClient, args: list[dict[str, Any]], place: str, reason: str
):
    refused = client.post("/sdapi/v1/txt2img", json=units(*args))
    assert refused.status_code == 422
    assert f"{place}: " in refused.json["detail"], refused.json
    assert reason in refused.json["detail"]
    assert client.get("/api/v1/jobs").json["items"] == []


@pytest.mark.parametrize("name", ["reference_images", "image_input", "input_images", "image_prompt"])
def test_a_prediction_takes_references_under_the_names_of_popular_models(app: App, client: ApiClient, name: str):
    files = encode_json([io.BytesIO(png("blue")), io.BytesIO(png("red"))], Client(), "base64")
    given = files[0] if name == "image_prompt" else files
    scale = "image_prompt_strength" if name == "image_prompt" else "reference_scale"
    made = client.post(PREDICTIONS, json={"input": {"prompt": "a cat", name: given, scale: 0.25}})
    assert made.status_code == 201, made.text
    assert (made.json["input"]["reference_scale"], "reference_images" in made.json["input"]) == (0.25, False)
    assert len(newest(app)["reference_images"]) == (1 if name == "image_prompt" else 2)
    refused = client.post(PREDICTIONS, json={"input": {"prompt": "a cat", name: "https://example.com/a.png"}})
    assert refused.status_code == 422
    assert refused.json["detail"].startswith(f"{name}: " if name == "image_prompt" else f"{name}[0]: ")
    refused = client.post(PREDICTIONS, json={"input": {"prompt": "a cat", name: [TALL] * 3}})
    assert refused.json["detail"].startswith(f"{name}: 3 pictures")
    alone = client.post(PREDICTIONS, json={"input": {"prompt": "a cat", scale: 0.25}})
    assert alone.json["detail"].startswith(f"{scale}: ")


def test_the_schema_of_a_model_names_its_references(client: ApiClient):
    [model] = [each for each in client.get("/replicate/v1/models").json["results"] if each["name"] == "painter"]
    inputs = model["latest_version"]["openapi_schema"]["components"]["schemas"]["Input"]["properties"]
    assert (inputs["reference_images"]["maxItems"], inputs["reference_scale"]["default"]) == (2, 0.6)
    assert inputs["reference_images"]["items"] == {"type": "string", "format": "uri"}
    drawn = client.post(PREDICTIONS, json={"input": {"prompt": "a cat"}}).json
    assert not {"reference_images", "reference_scale"} & set(drawn["input"])


def test_hugging_faces_calls_take_references_among_their_parameters(app: App, client: ApiClient):
    bare = SMALL.partition(",")[2]
    given = {"inputs": "a boat", "parameters": {"reference_images": [bare, TALL], "reference_scale": 0.5}}
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(app.test_client().post, "/hf/models/painter", json=given)
        finish(app, start(app, waiting_job(app, answer)), png("red"))
    assert answer.result().status_code == 200
    assert (len(newest(app)["reference_images"]), newest(app)["reference_scale"]) == (2, 0.5)
    for wrong in ([bare] * 3, [], ["x"], [None], "x", [bare] * 1000):
        parameters = {"reference_images": wrong}
        refused = client.post("/hf/models/painter", json={"inputs": "a boat", "parameters": parameters})
        assert (refused.status_code, "reference_images" in refused.text) == (422, True), wrong


def show(*pictures: str, words: str = "a boat") -> list[dict[str, Any]]:
    """The input of a response with these pictures."""
    images = [{"type": "input_image", "image_url": each} for each in pictures]
    return [{"role": "user", "content": [{"type": "input_text", "text": words}, *images]}]


def respond(client: ApiClient, *pictures: str, **more: Any) -> Any:
    body = {"input": show(*pictures), "tools": [TOOL], "background": True} | more
    return client.post("/v1/responses", json=body)


def test_the_pictures_of_a_response_are_references_where_its_model_takes_them(app: App, both: App):
    client = app.test_client()
    one, two = respond(client, TALL), respond(client, TALL, SMALL)
    assert (one.status_code, two.status_code) == (200, 200), two.text
    assert len(newest(app)["reference_images"]) == 2
    listed = client.get(f"/v1/responses/{two.json['id']}/input_items?include=message.input_image.image_url").json
    addresses = [part.get("image_url") for part in listed["data"][0]["content"]][1:]
    sizes = [Image.open(io.BytesIO(base64.b64decode(each.partition(",")[2]))).size for each in addresses]
    assert sizes == [(32, 64), (20, 10)]
    assert "image" in newest_of(both, respond(both.test_client(), TALL))
    assert "reference_images" in newest_of(both, respond(both.test_client(), TALL, SMALL))


def newest_of(app: App, answer: Any) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return newest(app)


@pytest.mark.parametrize("pictures", [[TALL], [TALL, SMALL]])
def test_usage_counts_the_references_of_an_edit(app: App, both: App, pictures: list[str]):
    for service in (app, both):  # the second model starts from one picture, and takes two as references
        usage = drawn(service, "/v1/images/edits", {"prompt": "a boat", "image": pictures}).json["usage"]
        assert usage["input_tokens_details"] == {"text_tokens": 2, "image_tokens": len(pictures)}
        assert usage["input_tokens"] == 2 + len(pictures)


def test_a_responses_pictures_are_judged_by_the_model_that_it_names(app: App, both: App):
    refused = respond(both.test_client(), TALL, model="limner-gan")
    assert (refused.status_code, refused.json["error"]["param"]) == (422, "input"), refused.text
    refused = respond(both.test_client(), TALL, SMALL, model="limner-gan")
    assert (refused.json["error"]["param"], "image-to-image with limner-gan" in refused.text) == ("input", True)
    refused = respond(app.test_client(), TALL, SMALL, SMALL)
    assert (refused.status_code, refused.json["error"]["param"]) == (422, "input"), refused.text
    refused = respond(app.test_client(), TALL, "data:image/png;base64,aGVsbG8=")
    assert (refused.status_code, refused.json["error"]["param"]) == (422, "input"), refused.text
    tool = TOOL | {"reference_images": [SMALL]}
    refused = respond(app.test_client(), TALL, tools=[tool])
    assert refused.json["error"]["param"] == "tools[0].reference_images"
    large = data_url(Image.effect_noise((60, 60), 100).convert("RGB"))
    answer = respond(app.test_client(), tools=[TOOL | {"reference_images": [large]}])
    assert answer.json["tools"] == [TOOL], "the answer does not repeat pictures"
    assert len(newest_of(app, answer)["reference_images"]) == 1
    kept = newest_of(both, respond(both.test_client(), TALL, tools=[tool]))
    assert ("image" in kept, len(kept["reference_images"])) == (True, 1)


def chat(client: ApiClient, *pictures: str) -> Any:
    parts = [{"type": "image_url", "image_url": {"url": each}} for each in pictures]
    content = [{"type": "text", "text": "a boat"}, *parts]
    body = {"messages": [{"role": "user", "content": content}], "stream": True}
    return client.post("/v1/chat/completions", json=body)


def test_the_pictures_of_a_chat_are_references_where_its_model_takes_them(app: App, both: App):
    assert len(newest_of(app, chat(app.test_client(), TALL))["reference_images"]) == 1
    assert len(newest_of(app, chat(app.test_client(), TALL, SMALL))["reference_images"]) == 2
    assert "image" in newest_of(both, chat(both.test_client(), TALL))
    refused = chat(both.test_client(), TALL, SMALL, SMALL)
    assert (refused.status_code, refused.json["error"]["param"]) == (422, "messages"), refused.text


def test_later_messages_go_on_with_the_references_of_a_conversation(client: ApiClient):
    conversation = begin(client, "a boat", reference_images=[TALL, SMALL], reference_scale=0.25)
    [first] = conversation["turns"]
    second = say(client, conversation, "bluer", image="none")
    assert second["job"]["reference_images"] == first["job"]["reference_images"]
    assert second["job"]["reference_scale"] == 0.25
    third = say(client, conversation, "greener", reference_images=[data_url(BLUE)], reference_scale=1.0)
    assert (len(third["job"]["reference_images"]), third["job"]["reference_scale"]) == (1, 1.0)
    elsewhere = say(client, conversation, "darker", model="limner-gan")
    assert elsewhere["job"]["reference_images"] == []


def test_the_references_of_another_tenants_job_are_unknown_at_every_door(
    app: App, make_app: Callable[..., App], tmp_path: Path, database: Database
):
    mine, yours = make_key(database, "mine"), make_key(database, "yours")
    client = make_app(models=(tmp_path / "painter.toml",), default_model="painter", require_keys=True).test_client()
    given = {"prompt": "a boat", "reference_images": [TALL]}
    job = client.post("/api/v1/jobs", json=given, headers=mine).json["id"]
    for path, body in {
        "/hf/models/painter": {"inputs": "a boat", "parameters": {"reference_images": [job]}},
        "/v1/images/generations": {"prompt": "a boat", "reference_images": [job]},
        "/v1/responses": {"input": "a boat", "tools": [TOOL | {"reference_images": [job]}]},
        "/api/v1/conversations": {"message": "a boat", "reference_images": [job]},
        PREDICTIONS: {"input": {"prompt": "a boat", "reference_images": [job]}},
    }.items():
        refused = client.post(path, json=body, headers=yours)
        assert (refused.status_code, "reference_images" in refused.text) == (422, True), (path, refused.text)
    with app.extensions["limner"].database.read() as session:
        assert len(session.scalars(select(Job.id)).all()) == 1
