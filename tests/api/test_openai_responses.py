"""Responses with the image_generation tool: what they take, refuse and keep. The official client has its own test."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from openai.types.responses import Response
from sqlalchemy import select, update

from limner_shared.db.engine import Database
from limner_shared.db.tables import Job
from limner_shared.domain.responses import MARK
from tests.api.canvas import DATA_URL, MASK, RESPONSES, TOOL, app
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_built_in_habits import drawn
from tests.api.test_bulks import rows
from tests.api.test_keys import make_key
from tests.api.test_openai_files import upload

__all__ = ["app"]


def send(client: ApiClient, count: int | None = None, **more: Any) -> tuple[int, dict[str, Any]]:
    body = {"input": "a red apple", "tools": [TOOL], "background": True} | more
    headers = {} if count is None else {"X-Stainless-Retry-Count": str(count)}
    answer = client.post(RESPONSES, json=body, headers=headers)
    return answer.status_code, answer.json or {}


def create(client: ApiClient, **more: Any) -> dict[str, Any]:
    status, answer = send(client, **more)
    assert status == 200, answer
    Response.model_validate(answer, strict=False)
    return answer


def get(client: ApiClient, path: str) -> dict[str, Any]:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json or {}
    return found


def message(*parts: dict[str, Any], role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": list(parts)}


def words(text: str) -> dict[str, Any]:
    return {"type": "input_text", "text": text}


def test_a_response_is_a_job_and_shows_its_pictures_once_it_has_ended(app: App) -> None:
    client = app.test_client()
    tool = TOOL | {"size": "64x32", "quality": "high", "output_format": "webp", "seed": 7, "n": 2}
    queued = create(client, tools=[tool], metadata={"page": "3"}, user="u-1")
    assert (queued["status"], queued["output"], queued["tools"]) == ("queued", [], [tool])
    job = get(client, f"/api/v1/jobs/{queued['job_id']}")
    assert (job["description"], job["seed"], job["n"], job["steps"]) == ("a red apple", 7, 2, 8)
    assert (job["metadata"]["page"], job["metadata"]["user"]) == ("3", "u-1")
    finish(app, start(app, job["id"]), png("red"), png("blue"))
    done = get(client, f"{RESPONSES}/{queued['id']}")
    Response.model_validate(done)
    *pictures, said = done["output"]
    assert [(item["type"], item["status"], item["seed"]) for item in pictures] == [
        ("image_generation_call", "completed", 7),
        ("image_generation_call", "completed", 8),
    ]
    assert base64.b64decode(pictures[0]["result"])[8:12] == b"WEBP"
    assert (pictures[0]["output_format"], pictures[0]["quality"]) == ("webp", "high")
    assert (said["type"], said["role"]) == ("message", "assistant")
    assert (done["status"], done["metadata"], done["user"]) == ("completed", {"page": "3"}, "u-1")
    assert done["tool_usage"]["image_gen"]["output_tokens"] == 16


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"tools": []}, "tools"),
        ({"tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"tools": [TOOL, {"type": "function", "name": "f"}]}, "tools[1]"),
        ({"tool_choice": "none"}, "tool_choice"),
        ({"temperature": "hot"}, "temperature"),
        ({"text": {"format": {"type": "json_schema", "name": "x", "schema": {}}}}, "text.format.type"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"include": ["everything"]}, "include.0"),
        ({"prompt": {"id": "x"}}, "prompt"),
        ({"store": False}, "store"),
        ({"previous_response_id": "resp_none"}, "previous_response_id"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"metadata": {"openai_response": "x"}}, "metadata"),
        ({"input": ""}, "input"),
        ({"input": "x" * 10_001}, "input"),
        ({"input": []}, "input"),
        ({"input": [message(words("x"), role="assistant")]}, "input"),
        ({"input": [message(words("x"), {"type": "input_image", "file_id": "file_none"})]}, "input"),
        ({"input": [message(words("x"), {"type": "input_image", "image_url": "https://x.example/y.png"})]}, "input"),
        ({"input": [message(words("x"), *[{"type": "input_image", "image_url": DATA_URL}] * 2)]}, "input"),
        ({"model": "gpt-9"}, "model"),
    ],
)
def test_what_a_response_cannot_have_is_refused_by_name(client: ApiClient, more: dict[str, Any], param: str) -> None:
    status, answer = send(client, **more)
    assert status in (404, 422), answer
    assert answer["error"]["param"] == param
    assert answer["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("content", [{"type": "input_file", "file_id": "x"}, {"type": "input_audio"}, 5])
def test_other_contents_of_a_message_are_refused(client: ApiClient, content: Any) -> None:
    status, answer = send(client, input=[{"role": "user", "content": [content]}])
    assert (status, answer["error"]["param"].partition(".")[0]) == (422, "input")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("size", "3x3"),
        ("size", "tiny"),
        ("quality", "ultra"),
        ("background", "transparent"),
        ("output_format", "svg"),
        ("output_compression", 50),
        ("moderation", "none"),
        ("partial_images", 4),
        ("input_fidelity", "full"),
        ("frame_count", 3),
        ("action", "edit"),
        ("action", "paint"),
        ("input_image_mask", {"image_url": DATA_URL}),
        ("model", "gpt-9"),
        ("n", 99),
        ("steps", 0),
        ("response_format", "url"),
        ("interpret", False),
        ("colour", "red"),
    ],
)
def test_a_parameter_of_the_tool_that_cannot_be_followed_is_refused_by_name(
    client: ApiClient, name: str, value: Any
) -> None:
    status, answer = send(client, tools=[TOOL | {name: value}])
    assert status in (404, 422), answer
    assert answer["error"]["param"] == f"tools[0].{name}"


def test_a_tool_that_is_set_up_for_streams_draws_without_one_too(app: App, client: ApiClient) -> None:
    tool = TOOL | {"partial_images": 2, "output_compression": 100}
    answer = drawn(app, RESPONSES, {"input": "a red apple", "tools": [tool]})
    assert (answer.json["status"], answer.json["tools"]) == ("completed", [tool])
    assert "partial_images has no effect without a stream" in answer.headers["Warning"]
    later = client.post(RESPONSES, json={"input": "a red apple", "tools": [tool], "background": True})
    assert (later.status_code, "Warning" in later.headers) == (200, False)
    stored = get(client, f"/api/v1/jobs/{later.json['job_id']}")["metadata"][MARK]
    assert stored["output"]["partial_images"] == 2, "a stream of it shows previews"


def test_a_model_without_inpainting_refuses_the_mask_or_the_picture_by_name(make_app: Callable[..., App]) -> None:
    client = make_app().test_client()
    status, answer = send(client, input=[message(words("x"), {"type": "input_image", "image_url": DATA_URL})])
    assert (status, answer["error"]["param"]) == (422, "input")
    assert "image-to-image" in answer["error"]["message"]


def test_a_picture_in_the_last_message_is_edited_with_a_mask(app: App) -> None:
    client = app.test_client()
    file, mask = [upload(client, data).json["id"] for data in (png("red"), MASK)]
    for picture in ({"image_url": DATA_URL, "detail": "auto"}, {"file_id": file}):
        parts = (words("make it blue"), {"type": "input_image"} | picture)
        tool = TOOL | {"input_image_mask": {"file_id": mask}, "strength": 0.5, "action": "edit"}
        answer = create(client, input=[message(*parts)], tools=[tool])
        assert "input_image_mask" not in answer["tools"][0]
        job = get(client, f"/api/v1/jobs/{answer['job_id']}")
        assert job["image"]
        assert job["mask"]
        assert job["strength"] == 0.5


def test_earlier_responses_and_messages_become_the_history(app: App, database: Database) -> None:
    client = app.test_client()
    first = create(client, input="a cat", model="limner-flow")
    second = create(client, input="bluer", previous_response_id=first["id"])
    assert (second["previous_response_id"], second["model"]) == (first["id"], "limner-flow")
    third = create(client, input="with a hat", previous_response_id=second["id"])
    call = {"type": "image_generation_call", "id": f"ig_{first['id'].removeprefix('resp_')}", "status": "completed"}
    listed = create(client, input=[message(words("a cat")), call, message(words("smaller"))])
    with database.read() as session:
        texts = [
            [turn["text"] for turn in session.get_one(Job, each["job_id"]).spec["history"]] for each in (third, listed)
        ]
    assert texts == [["a cat", "bluer"], ["a cat"]]
    with database.write() as session:  # as retention does
        session.execute(update(Job).where(Job.id == first["job_id"]).values(extra={}))
    create(client, input="and a coat", previous_response_id=second["id"])
    assert client.get(f"{RESPONSES}/{first['id']}").status_code == 404


def test_a_response_in_the_background_is_canceled_and_deleted(app: App) -> None:
    client = app.test_client()
    path = f"{RESPONSES}/{create(client)['id']}"
    refused = client.delete(path)
    assert (refused.status_code, (refused.json or {})["error"]["code"]) == (409, "invalid_state")
    canceled = client.post(f"{path}/cancel")
    assert (canceled.status_code, (canceled.json or {})["status"]) == (200, "cancelled")
    assert (client.delete(path).json or {})["deleted"]
    for answer in (client.get(path), client.delete(path), client.post(f"{path}/cancel")):
        assert answer.status_code == 404
    for query in (
        "starting_after=3",
        "stream=true&starting_after=-1",
        "include_obfuscation=true",
        "include[]=x",
        "a=b",
    ):
        assert client.get(f"{RESPONSES}/resp_x?{query}").status_code == 422, query
    assert client.get(f"{RESPONSES}/resp_x?stream=true").status_code == 404


def test_another_tenants_response_and_a_plain_job_are_not_found(
    make_app: Callable[..., App], database: Database
) -> None:
    client = make_app(require_keys=True).test_client()
    mine, other = make_key(database, "mine"), make_key(database, "other")
    body = {"input": "x", "tools": [TOOL], "background": True}
    made: dict[str, Any] = client.post(RESPONSES, json=body, headers=mine).json
    assert client.get(f"{RESPONSES}/{made['id']}", headers=mine).status_code == 200
    assert client.get(f"{RESPONSES}/{made['id']}", headers=other).status_code == 404
    later = client.post(RESPONSES, json=body | {"previous_response_id": made["id"]}, headers=other)
    assert later.status_code == 422
    plain: dict[str, Any] = client.post("/api/v1/jobs", json={"prompt": "x"}, headers=mine).json
    assert client.get(f"{RESPONSES}/{plain['id'].replace('job_', 'resp_')}", headers=mine).status_code == 404


def test_a_retry_gets_the_response_of_its_first_try(app: App) -> None:
    client = app.test_client()
    first = send(client, 0)[1]["id"]
    assert send(client, 1)[1]["id"] == first
    assert send(client, 1, metadata={"a": "b"})[1]["id"] != first
    assert rows(app, Job) == 2


def test_instructions_are_said_not_to_be_followed(client: ApiClient) -> None:
    for more in ({"instructions": "Be brief."}, {"input": [message(words("x"), role="system"), message(words("y"))]}):
        answer = client.post(RESPONSES, json={"input": "x", "tools": [TOOL], "background": True} | more)
        assert answer.status_code == 200, answer.text
        assert "instructions" in answer.headers["Warning"]


@pytest.mark.parametrize(
    "forged", [{"letterbox": [30_000, 30_000]}, {"letterbox": [0, 8]}, {"compression": 101}, {"partial_images": 4}]
)
def test_a_job_that_only_says_that_it_is_a_response_is_none(
    app: App, database: Database, forged: dict[str, Any]
) -> None:
    client = app.test_client()
    made = create(client)
    with database.write() as session:
        [mark] = session.scalars(select(Job.extra)).all()
    claimed = {MARK: mark[MARK] | {"output": mark[MARK]["output"] | forged}}
    job = client.post("/api/v1/jobs", json={"prompt": "x", "metadata": claimed}).json["id"]
    assert client.get(f"{RESPONSES}/{made['id']}").status_code == 200
    assert client.get(f"{RESPONSES}/{job.replace('job_', 'resp_')}").status_code == 404
