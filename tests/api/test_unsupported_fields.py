"""What the workers of a model report that it does not take is refused at once, by every API."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from redis.exceptions import RedisError

from limner_shared.domain.unsupported import OWN, UnsupportedByModel
from limner_shared.messaging import reports
from limner_shared.messaging.reports import WorkerReport
from tests.api.clients import ApiClient, App
from tests.api.test_a1111 import draw
from tests.api.test_input_images import CARD, data_url

WITHOUT = UnsupportedByModel(
    fields={
        "text-to-image": ("guidance_rescale",),
        "image-to-image": ("guidance_rescale", "strength"),
        "inpainting": ("padding_mask_crop",),
    },
    steps={"LCMScheduler": ((41, 50),), OWN: ((7, 7),)},
)


@pytest.fixture
def app(make_app: Callable[..., App], tmp_path: Path) -> App:
    card = tmp_path / "painter.toml"
    card.write_text(CARD.replace('"null"', '"diffusers"') + 'schedulers = ["LCMScheduler"]\n')
    return make_app(models=(card,), default_model="painter")


def report(app: App, owner: str, **models: UnsupportedByModel) -> None:
    """Let a worker report that it serves these models."""
    written = WorkerReport(
        owner=owner, models=["painter", *models], device="cpu", held=0, closed=[], stalled=[], unsupported=models
    )
    reports.write_report(app.extensions["limner"].hints.redis, written)


def refused(client: ApiClient, **fields: Any) -> str | None:
    """The field for which a job is refused; None if it is accepted."""
    answer = client.post("/api/v1/jobs", json={"prompt": "a boat"} | fields)
    assert answer.status_code in (202, 422), answer.text
    return answer.json.get("field")


def test_what_no_worker_of_a_model_takes_is_refused_by_its_name(app: App, client: ApiClient):
    report(app, "one", painter=WITHOUT)
    assert refused(client, guidance_rescale=0.5) == "guidance_rescale"
    assert refused(client, guidance_rescale=0) is None
    masked = dict.fromkeys(("image", "mask"), data_url(Image.new("RGB", (64, 32), "white")))
    assert refused(client, padding_mask_crop=8, **masked) == "padding_mask_crop"
    assert refused(client, **masked) is None
    assert refused(client, scheduler="LCMScheduler", steps=45) == "steps"
    assert refused(client, scheduler="LCMScheduler", steps=40) is None
    assert refused(client, steps=45) is None
    assert refused(client, steps=7) == "steps"
    openai = client.post("/v1/images/generations", json={"prompt": "a boat", "steps": 7, "stream": True})
    assert (openai.status_code, openai.json["error"]["param"]) == (422, "steps")
    lines = "\n".join(json.dumps({"prompt": "a boat", "steps": steps}) for steps in (6, 7))
    bulk = client.post("/api/v1/bulks", data=lines, content_type="application/x-ndjson")
    assert [(error["line"], error["field"]) for error in bulk.json["errors"]] == [(2, "steps")]


def test_the_models_say_which_of_them_draw_only_the_part_around_a_mask(make_app: Callable[..., App], tmp_path: Path):
    def cropping(reported: UnsupportedByModel) -> list[str]:
        card = tmp_path / "painter.toml"
        card.write_text(CARD.replace('"null"', '"diffusers"'))
        app = make_app(models=(card,), default_model="painter")
        report(app, "one", painter=reported)
        items = app.test_client().get("/api/v1/models").json["items"]
        return [model["name"] for model in items if model["mask_crops"]]

    assert cropping(UnsupportedByModel()) == ["painter"]
    assert cropping(WITHOUT) == []


def test_a_mask_with_nothing_to_draw_is_refused_only_where_its_part_is_drawn(client: ApiClient):
    black = Image.new("L", (64, 32))
    given = {"image": data_url(black), "mask": data_url(black)}
    assert refused(client, padding_mask_crop=0, **given) == "mask"
    assert refused(client, **given) is None
    black.putpixel((5, 5), 1)
    assert refused(client, padding_mask_crop=0, **given | {"mask": data_url(black)}) is None


def test_a_crop_around_the_mask_that_a1111s_clients_ask_for_by_default_is_left_out_with_a_warning(app: App):
    report(app, "one", painter=WITHOUT)
    given = data_url(Image.new("RGB", (64, 32), "white"))
    body = {"prompt": "a boat", "init_images": [given], "mask": given, "inpaint_full_res": True}
    answer = draw(app, body, path="img2img")
    assert "inpaint_full_res" in answer.headers["Warning"]


def test_what_one_of_the_workers_takes_is_accepted(app: App, client: ApiClient):
    report(app, "one", painter=WITHOUT)
    report(app, "earlier release")
    assert refused(client, guidance_rescale=0.5) is None


def test_without_reports_and_without_redis_nothing_is_refused(
    app: App, client: ApiClient, monkeypatch: pytest.MonkeyPatch
):
    assert refused(client, guidance_rescale=0.5) is None

    def away(*_: object) -> None:
        raise RedisError

    monkeypatch.setattr("limner_web.worker_limits.read_reports", away)
    monkeypatch.setattr("limner_web.worker_limits.FRESH_SECONDS", -1.0)
    assert refused(client, guidance_rescale=0.5) is None
