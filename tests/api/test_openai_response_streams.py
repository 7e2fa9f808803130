"""The stream of a response that a client joins later, or again after it has lost its connection."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter

from tests.api.canvas import RESPONSES, TOOL, app
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start

__all__ = ["app"]
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


@pytest.fixture
def made(client: ApiClient) -> dict[str, Any]:
    """A response in the background, whose job waits."""
    body = {"input": "a red apple", "tools": [TOOL | {"n": 2}], "background": True}
    return client.post(RESPONSES, json=body).json


def streamed(client: ApiClient, response: dict[str, Any], query: str = "") -> list[dict[str, Any]]:
    answer = client.get(f"{RESPONSES}/{response['id']}?stream=true{query}")
    assert answer.status_code == 200, answer.text
    assert answer.mimetype == "text/event-stream"
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    events = [json.loads(line) for line in lines]
    for event in events:
        EVENT.validate_python(event)
    return events


def test_a_response_that_has_ended_is_streamed_from_its_beginning(client: ApiClient, app: App, made: dict[str, Any]):
    finish(app, start(app, made["job_id"]), png("red"), png("blue"))
    events = streamed(client, made)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert (events[0]["type"], events[-1]["type"]) == ("response.created", "response.completed")
    assert events[-1]["response"] == client.get(f"{RESPONSES}/{made['id']}").json


def test_a_stream_continues_after_any_event_without_a_gap_or_a_repeat(
    client: ApiClient, app: App, made: dict[str, Any]
):
    finish(app, start(app, made["job_id"]), png("red"), png("blue"))
    events = streamed(client, made)
    for got in range(len(events)):
        assert streamed(client, made, f"&starting_after={got}") == events[got + 1 :]
    assert streamed(client, made, "&starting_after=9999") == []


def test_a_failed_response_ends_its_stream(client: ApiClient, made: dict[str, Any]):
    client.post(f"{RESPONSES}/{made['id']}/cancel")
    last = streamed(client, made)[-1]
    assert (last["type"], last["response"]["status"]) == ("response.failed", "cancelled")


def test_a_stream_of_anything_else_is_refused(client: ApiClient, made: dict[str, Any]):
    assert client.get(f"{RESPONSES}/resp_none?stream=true").status_code == 404
    later = client.get(f"{RESPONSES}/{made['id']}?starting_after=3")
    assert (later.status_code, later.json["error"]["param"]) == (422, "starting_after")
    for query in ("stream=perhaps", "stream=true&starting_after=-1", "include[]=everything", "limit=3"):
        assert client.get(f"{RESPONSES}/{made['id']}?{query}").status_code == 422, query
    included = client.get(f"{RESPONSES}/{made['id']}?include[]=message.input_image.image_url")
    assert included.status_code == 200
