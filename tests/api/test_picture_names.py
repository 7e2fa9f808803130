"""A prompt is suggested for a picture where the evaluator knows such pictures, and none where it does not."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from redis import Redis

import limner_web
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest
from limner_shared.messaging import questions
from limner_shared.messaging.hints import connect
from limner_shared.messaging.reports import WorkerReport, write_report
from limner_shared.threads import Supervisor
from limner_worker.runtime.answering import Answering
from limner_worker.stages.interpretation.interpreter import Interpreter
from limner_worker.stages.interpretation.presenting.presenter import recognizers_of
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_retention import submit

URL = "/api/v1/describe"
SAMPLES = Path(limner_web.__file__).parent / "pages/static/models/limner-flow"


def data_url(picture: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def sample(name: str) -> str:
    return data_url((SAMPLES / f"{name}.webp").read_bytes(), "webp")


@pytest.fixture
def redis(redis_url: str) -> Redis:
    return connect(redis_url)


@pytest.fixture
def worker(redis: Redis, catalogue: Catalogue) -> Iterator[Answering]:
    """The part of a worker that answers questions, with the evaluator."""
    cards = {"limner-flow": catalogue.get("limner-flow")}
    write_report(redis, WorkerReport(owner="w", models=list(cards), device="cpu", held=0, closed=[], stalled=[]))
    answering = Answering(redis, Interpreter(), cards, Supervisor(), recognizers_of(cards))
    answering.start()
    yield answering
    answering.stop()


def described(client: ApiClient, image: str, **more: Any) -> dict[str, Any]:
    answer = client.post(URL, json={"image": image} | more)
    assert answer.status_code == 200, answer.json
    return answer.get_json()


def test_a_drawing_is_named_in_the_language_that_is_asked_for(client: ApiClient, worker: Answering) -> None:
    for name in ("penguin", "guitar", "birthday-cake"):
        told = described(client, sample(name))
        assert (told["prompt"], told["model"]) == (name.replace("-", " "), "limner-flow")
        assert told["names"][0]["likeness"] > 0.56
    assert described(client, sample("penguin"), language="de")["prompt"].lower() == "pinguin"
    assert client.get("/api/v1/jobs").get_json()["items"] == [], "nothing was drawn"


def test_of_a_picture_that_the_evaluator_does_not_know_it_says_nothing(client: ApiClient, worker: Answering) -> None:
    buffer = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 255, (300, 200, 3), np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    told = described(client, data_url(buffer.getvalue()))
    assert told["prompt"] is None
    assert described(client, sample("two-cats-and-a-tree"))["prompt"] is None
    assert described(client, data_url(png("white")))["names"] == [], "not the asterisk that is the nearest"


def test_a_picture_that_was_drawn_is_named_by_its_id(app: App, client: ApiClient, worker: Answering) -> None:
    with Image.open(SAMPLES / "rocket.webp") as opened:
        buffer = io.BytesIO()
        opened.convert("RGB").save(buffer, "PNG")
    job = submit(client)
    finish(app, start(app, job["id"]), buffer.getvalue())
    [image] = client.get(job["links"]["self"]).get_json()["images"]
    assert described(client, image["id"])["prompt"] == "rocket"


@pytest.mark.parametrize("image", ["img_nothing", "a cat", data_url(b"no picture"), data_url(png("red")[:40])])
def test_what_is_no_picture_is_refused_by_its_field(client: ApiClient, worker: Answering, image: str) -> None:
    answer = client.post(URL, json={"image": image})
    assert (answer.status_code, answer.get_json()["field"]) == (422, "image")


def test_without_a_worker_the_answer_says_so_and_one_of_an_earlier_release_is_not_believed(
    client: ApiClient, redis: Redis, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.post(URL, json={"image": sample("ghost")}).get_json()["code"] == "interpreter_unavailable"
    write_report(redis, WorkerReport(owner="w", models=["limner-flow"], device="cpu", held=0, closed=[], stalled=[]))
    _, spec = catalogue.resolve(JobRequest(prompt="a picture"))
    earlier = questions.Answer.model_validate(
        {"interpretation": {"conditions": {"prompt": spec.prompt}, "backend": "none"}, "language": "en"}
    )

    def answered(*_args: Any) -> questions.Answer:
        return earlier

    monkeypatch.setattr(questions, "ask_names", answered)
    answer = client.post(URL, json={"image": sample("ghost")})
    assert (answer.status_code, answer.get_json()["code"]) == (503, "interpreter_unavailable")


def test_a_model_without_an_evaluator_is_refused_by_its_field(make_app: Any) -> None:
    client = make_app(models=(Path("tests/models/canvas.toml"),)).test_client()
    answer = client.post(URL, json={"image": sample("ghost"), "model": "canvas"})
    assert (answer.status_code, answer.get_json()["field"]) == (422, "model")
