"""The names that a model was trained with are told by its workers, in the reader's language."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from limner_shared.domain.catalogue import Catalogue
from limner_shared.messaging.hints import connect
from limner_shared.messaging.known_names import write_names
from limner_shared.threads import Supervisor
from limner_worker.runtime.answering import Answering
from limner_worker.stages.interpretation.interpreter import Interpreter
from limner_worker.stages.interpretation.presenting.presenter import recognizers_of
from tests.api.clients import ApiClient, App
from tests.processes import eventually

URL = "/api/v1/models/limner-flow/names"


@pytest.fixture
def redis(redis_url: str) -> Redis:
    return connect(redis_url)


def test_a_worker_tells_the_names_of_its_models_in_each_language(
    client: ApiClient, redis: Redis, catalogue: Catalogue
) -> None:
    assert client.get(URL).json == {"items": []}
    assert client.get(URL).headers["Cache-Control"] == "no-cache"
    cards = {"limner-flow": catalogue.get("limner-flow")}
    answering = Answering(redis, Interpreter(), cards, Supervisor(), recognizers_of(cards))
    answering.start()
    eventually(lambda: client.get(URL).json["items"] != [])
    answering.stop()
    english, german = (client.get(f"{URL}?language={code}").json["items"] for code in ("en", "de"))
    assert {"red apple", "cat face", "blue car"} <= set(english)
    assert "katzengesicht" in german
    assert client.get(f"{URL}?language=xx").json["items"] == []
    assert "max-age" in client.get(URL).headers["Cache-Control"]


def test_names_that_cannot_be_read_are_none(client: ApiClient, redis: Redis, make_app: Callable[..., App]) -> None:
    write_names(redis, "limner-flow", {"en": ["red apple"]})
    assert client.get(URL).json["items"] == ["red apple"]
    redis.hset("limner:names:limner-flow", "en", "[")
    assert client.get(URL).json["items"] == []
    without_redis: Any = make_app(redis_url="redis://127.0.0.1:1/0")
    assert without_redis.test_client().get(URL).json["items"] == []


def test_only_a_model_of_the_service_has_names(client: ApiClient) -> None:
    assert client.get("/api/v1/models/nothing/names").status_code == 404
    assert client.get(f"{URL}?language=../x").status_code == 422
