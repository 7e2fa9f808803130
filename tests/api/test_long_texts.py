"""Prompts of language models that are longer than a model reads: the doors of other services cut them and say so."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.clients import ApiClient, App
from tests.api.test_a1111 import draw
from tests.api.test_built_in_habits import drawn

LONG = "a red apple on a table, in warm light " * 100
READ = LONG[:500].rstrip()
"""What the built-in models read: up to a space before their 500 characters."""
TOLD = f"limner-flow reads at most 500 characters, so of {len(LONG)} the first {len(READ)} were used"
PREDICTIONS = "/replicate/v1/models/limner/limner-flow/predictions"


def prompt_of(client: ApiClient) -> str:
    [job] = client.get("/api/v1/jobs").json["items"]
    return job["prompt"]


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("/v1/images/generations", {"prompt": LONG}, "prompt"),
        ("/v1/images/generations", {"prompt": LONG, "model": "gpt-image-2", "stream": True}, "prompt"),
        ("/hf/models/limner-flow", {"inputs": LONG}, "inputs"),
    ],
)
def test_a_long_prompt_is_cut_and_the_answer_says_so(
    app: App, client: ApiClient, path: str, body: dict[str, Any], name: str
):
    answer = drawn(app, path, body)
    assert f"{name}: {TOLD}" in answer.headers["Warning"]
    assert prompt_of(client) == READ


def test_a1111s_info_says_that_a_prompt_was_cut(app: App, client: ApiClient):
    answer = draw(app, {"prompt": LONG, "width": 256, "height": 256})
    info = json.loads(answer.json["info"])
    assert f"prompt: {TOLD}." in info["warnings"]
    assert (info["prompt"], prompt_of(client)) == (READ, READ)


def test_a_prediction_shows_the_prompt_that_was_used(client: ApiClient):
    made = client.post(PREDICTIONS, json={"input": {"prompt": LONG}})
    assert (made.status_code, made.json["input"]["prompt"]) == (201, READ)
    assert f"prompt: {TOLD}" in made.headers["Warning"]


def test_a_prompt_that_no_program_sends_is_refused_as_by_the_native_api(client: ApiClient):
    refused = client.post("/v1/images/generations", json={"prompt": "x" * 32_001})
    assert (refused.status_code, refused.json["error"]["param"]) == (422, "prompt")
    native = client.post("/api/v1/jobs", json={"prompt": LONG})
    assert (native.status_code, "at most 500 characters" in native.json["detail"]) == (422, True)
    assert client.get("/api/v1/jobs").json["items"] == []
