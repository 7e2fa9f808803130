"""A description is interpreted without drawing it, by a worker; without one the answer says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from redis import Redis

from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, JobSpec
from limner_shared.messaging import questions
from limner_shared.messaging.hints import connect
from limner_shared.messaging.reports import WorkerReport, write_report
from limner_shared.messaging.typed_redis import keys_like
from limner_shared.threads import Supervisor
from limner_worker.generators.builtin.prompt_reading import Reading
from limner_worker.runtime.answering import Answering
from limner_worker.stages.interpretation.interpreter import Interpreter
from limner_worker.stages.interpretation.presenting.image_recognition import EvaluatorRecognizer
from limner_worker.stages.interpretation.presenting.presenter import recognizers_of
from tests.api.clients import ApiClient, App
from tests.processes import eventually

URL = "/api/v1/interpret"
NO_MODEL_LOADED = WorkerReport(owner="w", models=["limner-flow"], device="cpu", held=0, closed=[], stalled=[])


class Broken(EvaluatorRecognizer):
    """A recognizer without files, which cannot read."""

    def __init__(self) -> None: ...

    def known_names(self) -> dict[str, list[str]]:
        return {"en": ["cat"]}

    def read(self, spec: JobSpec, most: int) -> Reading:
        raise RuntimeError("no memory")


@pytest.fixture
def redis(redis_url: str) -> Redis:
    return connect(redis_url)


@pytest.fixture
def worker(redis: Redis, catalogue: Catalogue) -> Iterator[Answering]:
    """The part of a worker that answers questions, by rules."""
    write_report(redis, NO_MODEL_LOADED)
    answering = Answering(redis, Interpreter(), {"limner-flow": catalogue.get("limner-flow")}, Supervisor())
    answering.start()
    yield answering
    answering.stop()


def interpret(client: ApiClient, description: str, **more: Any) -> dict[str, Any]:
    answer = client.post(URL, json={"description": description} | more)
    assert answer.status_code == 200, answer.json
    return answer.get_json()


def test_a_description_is_understood_and_what_is_understood_can_be_drawn(client: ApiClient, worker: Answering) -> None:
    told = interpret(client, "zwei Bilder von roten Äpfeln als 3D-Figuren ohne Blätter, bitte")
    request = told["request"]
    assert (request["n"], request["style"], request["model"], told["language"]) == (2, "3d", "limner-flow", "de")
    assert (request["seed"], told["interpretation"]["backend"]) == (None, "rules")
    assert "Blätter" in request["negative_prompt"] + told["dropped_negative"]
    assert client.get("/api/v1/jobs").get_json()["items"] == []  # nothing was drawn
    drawn = client.post("/api/v1/jobs", json={k: v for k, v in request.items() if v not in (None, "")})
    assert drawn.status_code == 202
    assert (drawn.get_json()["prompt"], drawn.get_json()["n"]) == (request["prompt"], 2)


def test_a_request_that_waits_for_an_interpretation_holds_up_no_other(
    app: App, client: ApiClient, worker: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[dict[str, int]] = []
    ask = questions.ask

    def watched(*args: Any) -> questions.Answer | None:
        held.append(dict(app.extensions["limner"].limiter.held))
        return ask(*args)

    monkeypatch.setattr(questions, "ask", watched)
    interpret(client, "a red apple")
    assert held == [{"requests": 0, "streams": 1}]


def test_fields_take_precedence_and_what_is_beyond_the_limits_is_said(client: ApiClient, worker: Answering) -> None:
    told = interpret(client, "99 pictures of cats in flat style, seed 7", style="3d")
    assert (told["request"]["style"], told["request"]["n"], told["request"]["seed"]) == ("3d", 16, 7)
    assert told["beyond"]["n"] == 99


def test_what_the_model_would_draw_of_it_is_said_before_it_is_drawn(
    client: ApiClient, redis: Redis, catalogue: Catalogue
) -> None:
    write_report(redis, NO_MODEL_LOADED)
    cards = {"limner-flow": catalogue.get("limner-flow")}
    answering = Answering(redis, Interpreter(), cards, Supervisor(), recognizers_of(cards))
    answering.start()
    near, several, same = (interpret(client, each) for each in ("a wizard", "a cat and two foxes", "ein Geist, bitte"))
    assert (near["drawn_as"], near["scene"]) == ("magic wand", None)
    assert [(each["name"], each["count"]) for each in several["scene"]["objects"]] == [("cat", 1), ("fox", 2)]
    assert (same["drawn_as"], same["scene"]) == (None, None)  # "Geist" is "ghost", not only near to it
    answering.stop()


def test_an_error_in_saying_what_would_be_drawn_does_not_lose_the_answer(
    client: ApiClient, redis: Redis, catalogue: Catalogue
) -> None:
    write_report(redis, NO_MODEL_LOADED)
    cards = {"limner-flow": catalogue.get("limner-flow")}
    answering = Answering(redis, Interpreter(), cards, Supervisor(), {"limner-flow": Broken()})
    answering.start()
    assert interpret(client, "a cat")["request"]["prompt"] == "a cat"
    answering.stop()


@pytest.mark.parametrize(
    "body", [{}, {"description": " "}, {"description": "a cat", "style": "cubist"}, {"prompt": "x"}]
)
def test_a_description_that_no_job_could_have_is_refused(client: ApiClient, body: dict[str, str]) -> None:
    assert client.post(URL, json=body).status_code == 422


def test_without_a_worker_the_answer_comes_at_once_and_says_what_to_do(client: ApiClient, redis: Redis) -> None:
    answer = client.post(URL, json={"description": "a cat"})
    assert (answer.status_code, answer.get_json()["code"]) == (503, "interpreter_unavailable")
    assert "No worker that serves limner-flow is running" in answer.get_json()["detail"]
    assert answer.headers["Retry-After"]
    assert list(keys_like(redis, "limner:question*")) == []


def test_an_unreadable_answer_is_none(client: ApiClient, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    write_report(redis, NO_MODEL_LOADED)

    def new_id(_prefix: str) -> str:
        return "ask_1"

    monkeypatch.setattr(questions, "new_id", new_id)
    redis.rpush("limner:answer:ask_1", "{nonsense")
    answer = client.post(URL, json={"description": "a cat"})
    assert (answer.status_code, answer.get_json()["code"]) == (503, "interpreter_unavailable")


def test_without_redis_the_answer_says_that_prompts_are_still_drawn(make_app: Any) -> None:
    app: App = make_app(redis_url="redis://127.0.0.1:1/0")
    answer = app.test_client().post(URL, json={"description": "a cat"})
    assert (answer.status_code, answer.get_json()["code"]) == (503, "interpreter_unavailable")


def test_a_question_that_no_worker_takes_leaves_nothing_in_redis_but_what_expires(
    redis: Redis, catalogue: Catalogue
) -> None:
    _, spec = catalogue.resolve(JobRequest(description="a cat"))
    assert questions.ask(redis, spec, 0) is None
    assert questions.take(redis, ["limner-flow"], 4) == []
    assert all(redis.ttl(key) > 0 for key in keys_like(redis, "limner:question*"))


def test_a_damaged_question_is_passed_over_and_the_next_is_answered(
    client: ApiClient, worker: Answering, redis: Redis
) -> None:
    redis.set("limner:question:bad", '{"id": "bad", "spec": 7}')
    redis.rpush("limner:questions:limner-flow", "bad", "expired")
    eventually(lambda: redis.llen("limner:questions:limner-flow") == 0)
    assert interpret(client, "a cat")["request"]["prompt"] == "a cat"


def test_questions_about_one_model_do_not_hold_up_those_about_another(
    redis: Redis, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    first: list[str] = []

    def take(_: Redis, models: Sequence[str], most: int) -> list[questions.Question]:
        first.append(models[0])
        return []

    monkeypatch.setattr(questions, "take", take)
    card = catalogue.get("limner-flow")
    answering = Answering(redis, Interpreter(), {"one": card, "two": card, "three": card}, Supervisor())
    answering.start()
    eventually(lambda: len(first) >= 6)
    answering.stop()
    assert first[:6] == ["one", "two", "three", "one", "two", "three"]
