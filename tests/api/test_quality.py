"""Quality best over HTTP: its cost is said before and after, and who cannot draw it says so."""

from __future__ import annotations

from typing import Any

import pytest

from limner_web.openai.image_order import read_order
from tests.api.clients import ApiClient, App

JOBS = "/api/v1/jobs"
CAT = {"prompt": "a cat", "n": 2, "seed": 5}


def test_the_cost_is_said_before_and_after_and_counts_every_candidate(client: ApiClient) -> None:
    estimated = [client.get(f"/api/v1/estimate?n=2{more}").json["cost"] for more in ("", "&quality=best")]
    jobs = [client.post(JOBS, json=CAT | more).json for more in ({}, {"quality": "best"})]
    assert [job["cost"] for job in jobs] == estimated == [256, 1024]
    assert [job["candidates"] for job in jobs] == [1, 4]
    assert [job["n"] for job in jobs] == [2, 2]
    assert client.get(f"{JOBS}/{jobs[1]['id']}").json["cost"] == 1024


def test_a_model_says_how_many_candidates_it_draws(client: ApiClient) -> None:
    models = {model["name"]: model["candidates"] for model in client.get("/api/v1/models").json["items"]}
    assert models["limner-flow"] == models["limner-gan"] == 4


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"quality": "finest"}, "standard"),
        ({"quality": None}, "quality"),
    ],
)
def test_a_quality_that_a_model_does_not_have_is_refused_by_name(
    client: ApiClient, body: dict[str, Any], said: str
) -> None:
    answer = client.post(JOBS, json=CAT | body)
    assert answer.status_code == 422
    assert said in str(answer.json)


def test_openais_api_and_bulks_may_name_it(app: App, client: ApiClient) -> None:
    names = app.extensions["limner"].model_names
    order = read_order({"model": "limner-flow", "prompt": "a cat", "quality": "best"}, names)
    assert (order.request.quality, order.request.steps, order.output.quality) == ("best", 8, "best")
    kinds = [{"model": "limner-flow", "count": 3} | more for more in ({}, {"quality": "best"})]
    costs = [client.post("/api/v1/estimate", json={"jobs": [kind]}).json["cost"] for kind in kinds]
    assert costs == [384, 1536]
