"""A conversation that starts from a picture: what its messages start from, and when the picture is deleted."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from limner_shared.db.engine import Database
from limner_shared.db.ledger import Claim
from limner_shared.storage.blobs import INPUTS
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_conversations import URL, begin, say, spec_of
from tests.api.test_input_images import data_url
from tests.api.test_keys import make_key
from tests.api.test_retention import run_retention, set_retention
from tests.models import CANVAS

PHOTO = data_url(Image.new("RGB", (100, 100), "red"))


@pytest.fixture
def app(make_app: Callable[..., App]) -> App:
    return make_app(models=(CANVAS,), default_model="canvas")


def running(app: App, turn: dict[str, Any]) -> Claim:
    return start(app, turn["job"]["id"])


def stored_inputs(app: App) -> set[str]:
    """The names of the input files, also of those that are set aside before their deletion."""
    folder = app.extensions["limner"].blobs.folder
    return {file.name for file in folder.rglob("*") if file.parent.name == INPUTS}


def test_a_conversation_starts_from_a_picture_and_its_messages_go_on_from_it(app: App, client: ApiClient):
    conversation = begin(client, "a boat", image=PHOTO, strength=0.5)
    [first] = conversation["turns"]
    assert (len(first["job"]["image"]), first["job"]["strength"]) == (64, 0.5)
    second = say(client, conversation, "bluer")
    assert (second["job"]["image"], second["job"]["strength"]) == (first["job"]["image"], 0.5)
    third = say(client, conversation, "greener", image="none")
    assert (third["job"]["image"], third["job"]["strength"]) == (None, None)
    edited = client.put(f"{conversation['links']['self']}/turns/{second['id']}", json={"message": "red", "strength": 1})
    assert (edited.json["job"]["image"], edited.json["job"]["strength"]) == (first["job"]["image"], 1)
    later = say(client, conversation, "brown", image=data_url(Image.new("RGB", (64, 32), "brown")))
    assert (spec_of(app, later).image == first["job"]["image"], spec_of(app, later).strength) == (False, 0.8)


def test_a_mask_is_of_its_message_alone_and_stays_when_that_message_is_edited(app: App, client: ApiClient):
    mask = data_url(Image.new("L", (64, 32), 255))
    conversation = begin(client, "a boat", image=PHOTO, mask=mask, strength=0.5)
    [first] = conversation["turns"]
    assert spec_of(app, first).mask is not None
    second = say(client, conversation, "bluer")
    assert (spec_of(app, second).image, spec_of(app, second).mask) == (first["job"]["image"], None)
    third = say(client, conversation, "with a sail", mask=mask)
    assert (spec_of(app, third).image, spec_of(app, third).mask) == (first["job"]["image"], spec_of(app, first).mask)
    turns = f"{conversation['links']['self']}/turns/"
    edited = client.put(turns + third["id"], json={"message": "with two sails", "style": "oil"}).json
    assert spec_of(app, edited).mask == spec_of(app, first).mask
    given_up = client.put(turns + third["id"], json={"message": "with two sails", "image": "none"}).json
    assert (spec_of(app, given_up).image, spec_of(app, given_up).mask) == (None, None)


def test_the_input_of_a_job_is_shown_to_its_owner_alone(make_app: Callable[..., App], database: Database):
    client = make_app(models=(CANVAS,), default_model="canvas", require_keys=True).test_client()
    mine, yours = make_key(database, "mine"), make_key(database, "yours")
    turn = client.post(URL, json={"message": "a boat", "image": PHOTO}, headers=mine).json["turns"][0]
    path = f"/api/v1/jobs/{turn['job']['id']}/input"
    shown = client.get(path, headers=mine)
    assert (shown.status_code, shown.mimetype, shown.data[1:4]) == (200, "image/png", b"PNG")
    assert client.get(path, headers=yours).status_code == 404
    words = client.post("/api/v1/jobs", json={"prompt": "x"}, headers=mine).json
    assert client.get(f"/api/v1/jobs/{words['id']}/input", headers=mine).status_code == 404


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"image": PHOTO, "model": "limner-flow"}, "image: image-to-image with limner-flow is not allowed"),
        ({"image": "a" * 64}, "image: give the id of an image or job"),
        ({"strength": 0.5}, "strength: "),
        ({"mask": PHOTO}, "mask: a mask without an image"),
        ({"image": PHOTO, "padding_mask_crop": 8}, "padding_mask_crop: "),
        ({"image": PHOTO, "strength": 0}, "strength: "),
    ],
)
def test_a_picture_that_cannot_be_started_from_creates_no_turn(client: ApiClient, fields: dict[str, Any], reason: str):
    refused = client.post(URL, json={"message": "a boat"} | fields)
    assert refused.status_code == 422
    assert reason in str(refused.json)
    assert client.get(URL).json["items"] == []


def test_a_message_for_a_model_that_draws_from_words_only_leaves_the_earlier_picture(client: ApiClient):
    conversation = begin(client, "a boat", image=PHOTO)
    assert say(client, conversation, "bluer", model="limner-flow")["job"]["image"] is None


def test_a_message_whose_steps_do_not_admit_the_earlier_strength_has_the_default(app: App, client: ApiClient):
    conversation = begin(client, "a boat", image=PHOTO, strength=0.3)
    assert spec_of(app, say(client, conversation, "bluer", steps=2)).strength == 0.8
    assert spec_of(app, say(client, conversation, "bluer", steps=5)).strength == 0.8, "that of the message before"


def test_a_message_that_asks_for_another_size_has_the_earlier_picture_in_that_size(app: App, client: ApiClient):
    conversation = begin(client, "a boat", image=PHOTO)
    turn = say(client, conversation, "bluer", width=32, height=64)
    shown = client.get(f"/api/v1/jobs/{turn['job']['id']}/input")
    with Image.open(io.BytesIO(shown.data)) as picture:
        assert picture.size == (32, 64)
    assert {"width", "height"} <= set(spec_of(app, turn).given)  # its words no longer change the size


def test_deleting_a_conversation_deletes_its_inputs_once_their_jobs_have_ended(app: App, client: ApiClient):
    conversation = begin(client, "a boat", image=PHOTO)
    ended, waiting = conversation["turns"][0], say(client, conversation, "bluer")
    finish(app, running(app, ended), png("red"))
    assert client.delete(conversation["links"]["self"]).status_code == 204
    run_retention(app)
    assert stored_inputs(app) == {ended["job"]["image"]}  # the waiting job needs it
    assert client.get(f"/api/v1/jobs/{ended['job']['id']}/input").status_code == 404
    assert client.post(f"/api/v1/jobs/{ended['job']['id']}/replay").status_code == 409
    finish(app, running(app, waiting), png("blue"))
    run_retention(app)
    run_retention(app)
    assert stored_inputs(app) == set()
    assert client.get(f"/api/v1/jobs/{ended['job']['id']}").json["images"]


def test_a_message_does_not_bring_back_an_input_that_retention_deleted(app: App, client: ApiClient, database: Database):
    conversation = begin(client, "a boat", image=PHOTO)
    finish(app, running(app, conversation["turns"][0]), png("red"))
    set_retention(database, keep_images_days=0)
    run_retention(app)
    assert stored_inputs(app) == set()
    assert say(client, conversation, "bluer")["job"]["image"] is None
