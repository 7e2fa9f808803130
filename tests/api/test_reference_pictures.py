"""Reference pictures: which are accepted, how they are stored and used again; the several images of OpenAI's edits."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import select

from limner_shared.db.tables import Input, Job
from limner_worker.engine.job_run import JobRun
from limner_worker.stages.input_images import load_inputs
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import start
from tests.api.test_input_images import CARD, data_url
from tests.api.test_openai_edits import RED, file

TALL = data_url(Image.new("RGB", (60, 120), "blue"))
SMALL = data_url(Image.new("RGB", (20, 10), "red"))
RULE = "[reference]\nadapter = {{ folder = '.' }}\nmost = 2\nscale = {{ min = 0.0, max = 1.0, default = {default} }}\n"


def app_of(make_app: Callable[..., App], folder: Path, tasks: str) -> App:
    card = folder / "painter.toml"
    text = CARD.replace('["text-to-image", "image-to-image", "inpainting"]', tasks)
    card.write_text(text + RULE.format(default=0.6))
    return make_app(models=(card,), default_model="painter")


@pytest.fixture
def app(make_app: Callable[..., App], tmp_path: Path) -> App:
    return app_of(make_app, tmp_path, '["text-to-image"]')


def submit(client: ApiClient, **request: Any):
    return client.post("/api/v1/jobs", json={"prompt": "a boat"} | request)


def test_references_keep_their_shape_and_reach_every_image_of_the_job(app: App, client: ApiClient):
    [model] = [each for each in client.get("/api/v1/models").json["items"] if each["name"] == "painter"]
    assert model["reference"] == {"most": 2, "scale": {"min": 0, "max": 1, "default": 0.6}}
    job = submit(client, reference_images=[TALL, SMALL], n=2).json
    assert (len(job["reference_images"]), job["reference_scale"]) == (2, 0.6)
    run = JobRun(start(app, job["id"]), lambda: None)
    load_inputs(app.extensions["limner"].blobs, run)
    for row in run.rows:
        assert [each.shape for each in row.task.reference_images] == [(64, 32, 3), (10, 20, 3)]
        assert [each[0, 0].tolist() for each in row.task.reference_images] == [[0, 0, 255], [255, 0, 0]]
    with app.extensions["limner"].database.read() as session:
        assert set(session.scalars(select(Input.sha256))) == set(job["reference_images"])


def test_references_are_used_again_by_the_id_of_their_job(client: ApiClient):
    first = submit(client, reference_images=[TALL, SMALL], reference_scale=0.25).json
    again = submit(client, reference_images=[first["id"]] * 2, reference_scale=0.25).json
    assert again["reference_images"] == first["reference_images"]
    shown = client.get(f"/api/v1/jobs/{first['id']}/input?field=reference_images[1]")
    with Image.open(io.BytesIO(shown.data)) as picture:
        assert picture.size == (20, 10)
    assert client.get(f"/api/v1/jobs/{first['id']}/input?field=reference_images[2]").status_code == 404
    assert client.get(f"/api/v1/jobs/{first['id']}/input?field=prompt").status_code == 422


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"reference_images": [SMALL] * 3}, "reference_images", "at most 2"),
        ({"reference_images": []}, "reference_images", "at least 1"),
        ({"reference_scale": 0.5}, "reference_scale", "without reference_images"),
        ({"reference_images": [SMALL], "reference_scale": 1.5}, "reference_scale", "0 to 1"),
        ({"reference_images": [SMALL, "job_x"]}, "reference_images[1]", "no such picture"),
        ({"reference_images": [data_url(Image.new("RGB", (500, 100)))]}, "reference_images[0]", "4 times as long"),
        ({"reference_images": ["data:image/png;base64,aGVsbG8="]}, "reference_images[0]", "not an image"),
        ({"reference_images": [data_url(Image.new("1", (12_000, 12_000)))]}, "reference_images[0]", "megapixels"),
        ({"reference_images": [SMALL], "model": "limner-gan"}, "reference_images", "takes no reference pictures"),
    ],
)
def test_references_that_cannot_be_used_are_refused_by_name(client: ApiClient, fields: Any, field: str, reason: str):
    refused = submit(client, **fields)
    assert refused.status_code == 422
    assert reason in refused.text
    assert field in (refused.json.get("field"), *(each["field"] for each in refused.json.get("errors", ())))
    assert client.get("/api/v1/jobs").json["items"] == []


def edit(client: ApiClient, *images: bytes) -> Any:
    form = {"prompt": "a boat", "stream": "true", "image[]": [file(image) for image in images]}
    return client.post("/v1/images/edits", data=form, content_type="multipart/form-data")


def newest(app: App) -> dict[str, Any]:
    with app.extensions["limner"].database.read() as session:
        return session.scalars(select(Job.spec).order_by(Job.id.desc())).first() or {}


def test_the_images_of_openais_edits_are_references_where_the_model_takes_them(
    app: App, client: ApiClient, make_app: Callable[..., App], tmp_path: Path
):
    assert edit(client, RED).status_code == 200
    assert len(newest(app)["reference_images"]) == 1
    assert edit(client, RED, RED).status_code == 200
    assert (len(newest(app)["reference_images"]), "image" in newest(app)) == (2, False)
    both = app_of(make_app, tmp_path, '["text-to-image", "image-to-image"]')
    assert edit(both.test_client(), RED).status_code == 200
    assert (len(newest(both)["image"]), "reference_images" in newest(both)) == (64, False)
    assert edit(both.test_client(), RED, RED).status_code == 200
    assert len(newest(both)["reference_images"]) == 2


def test_the_first_image_of_an_edit_is_what_a_model_without_text_to_image_starts_from(
    make_app: Callable[..., App], tmp_path: Path
):
    card = tmp_path / "painter.toml"
    text = CARD.replace('["text-to-image", "image-to-image", "inpainting"]', '["image-to-image"]')
    card.write_text(text + "[reference]\nmost = 2\n")
    app = make_app(models=(card,), default_model="painter")
    client = app.test_client()
    [model] = [each for each in client.get("/api/v1/models").json["items"] if each["name"] == "painter"]
    assert model["reference"] == {"most": 2, "scale": {"min": 0, "max": 0, "default": 0}}
    assert edit(client, RED, RED).status_code == 200
    assert (len(newest(app)["image"]), len(newest(app)["reference_images"])) == (64, 1)
    assert edit(client, RED).status_code == 200
    assert "reference_images" not in newest(app)
