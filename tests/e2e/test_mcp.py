"""The official MCP client uses `limner mcp`, on stdio and by HTTP, with a real service behind it."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp import Client, StdioServerParameters
from PIL import Image

from limner_client.client import Client as ApiClient
from limner_client.local.embedded_valkey import free_port
from limner_shared.domain.ids import new_id
from tests.e2e.guides import run_examples
from tests.e2e.running import apart
from tests.processes import eventually

COMMAND = ["-m", "limner_client.cli.main", "mcp"]
SMALL = {"model": "limner-gan", "size": "64x64"}


@contextmanager
def mcp_over_http(server: str, *options: str) -> Iterator[str]:
    """Run `limner mcp --http` for a service, with a key of its own that no caller may use; yields its origin."""
    port = free_port()
    environment = os.environ | {"LIMNER_API_KEY": "lmn_not_for_callers"}
    command = [sys.executable, *COMMAND, "--server", server, "--http", "--port", str(port), *options]
    with subprocess.Popen(command, env=environment) as process:
        try:
            eventually(lambda: answers(port), 180)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).status_code in (401, 404)
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def http_origin(door: str) -> Iterator[str]:
    with mcp_over_http(door) as origin:
        yield origin


@pytest.fixture(params=[pytest.param("stdio", marks=pytest.mark.long), "http"])
def target(request: pytest.FixtureRequest, door: str) -> StdioServerParameters | str:
    """What the client connects to."""
    if request.param == "http":
        return f"{request.getfixturevalue('http_origin')}/mcp"
    environment = {"PYTHONPATH": os.environ.get("PYTHONPATH", ""), "LIMNER_SERVER_URL": door}
    return StdioServerParameters(command=sys.executable, args=COMMAND, env=environment)


def use(target: StdioServerParameters | str, work: Callable[[Client], Awaitable[Any]]) -> Any:
    """Do something with a connected client."""

    async def run() -> Any:
        async with Client(target) as client:
            return await work(client)

    return apart(asyncio.run, run())


def call(target: StdioServerParameters | str, tool: str, **arguments: Any) -> Any:
    return use(target, lambda client: client.call_tool(tool, arguments))


def picture_in(content: Any) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(content.data)))


def test_an_agent_lists_tools_and_models_and_draws(target: StdioServerParameters | str):
    async def work(client: Client) -> tuple[Any, Any, Any]:
        tools = (await client.list_tools()).tools
        models = await client.call_tool("list_models", {})
        return tools, models, await client.call_tool("generate_image", {"prompt": "a red apple", "n": 2, **SMALL})

    tools, models, drawn = use(target, work)
    assert [tool.name for tool in tools] == ["generate_image", "edit_image", "get_job", "search_images", "list_models"]
    assert all(tool.description and tool.output_schema for tool in tools)
    by_name = {model["name"]: model for model in models.structured_content["models"]}
    assert by_name["null"]["tasks"] == ["text-to-image", "image-to-image"]
    assert (drawn.is_error, drawn.structured_content["status"]) == (False, "succeeded")
    assert [picture_in(content).size for content in drawn.content[:2]] == [(64, 64), (64, 64)]
    assert len(drawn.structured_content["pictures"]) == 2
    assert drawn.structured_content["job_id"] in drawn.content[2].text


def test_an_agent_edits_the_picture_of_an_earlier_answer_with_a_model_that_can(http_origin: str):
    url = f"{http_origin}/mcp"
    first = call(url, "generate_image", prompt="x", model="null").structured_content
    picture = first["pictures"][0]["id"]
    edited = call(url, "edit_image", prompt="y", image=picture, strength=0.5)
    assert (edited.structured_content["model"], edited.structured_content["status"]) == ("canvas", "succeeded")
    refused = call(url, "edit_image", prompt="y", model="null", image=picture, mask=picture)
    assert refused.is_error
    assert "inpainting with null is not allowed here" in refused.content[0].text
    masked = {"prompt": "y", "model": "canvas", "image": picture, "mask": picture, "padding_mask_crop": 8}
    refused = call(url, "edit_image", **masked)
    assert "padding_mask_crop with canvas is not allowed here" in refused.content[0].text


def test_an_agent_gives_reference_pictures_to_a_model_that_takes_them(http_origin: str, door: str):
    first = call(f"{http_origin}/mcp", "generate_image", prompt="a red apple", model="collage", n=2)
    pictures = [picture["id"] for picture in first.structured_content["pictures"]]
    for references in (pictures, json.dumps(pictures), pictures[0]):
        given = {"model": "collage", "reference_images": references, "reference_scale": 0.5}
        drawn = call(f"{http_origin}/mcp", "generate_image", prompt="a boat", **given)
        job = httpx.get(f"{door}/api/v1/jobs/{drawn.structured_content['job_id']}").json()
        assert (len(job["reference_images"]), job["reference_scale"]) == (1 if references == pictures[0] else 2, 0.5)
    listed = call(f"{http_origin}/mcp", "list_models").structured_content["models"]
    assert {model["name"]: model["most_references"] for model in listed}["collage"] == 2
    refused = call(f"{http_origin}/mcp", "generate_image", prompt="a boat", model="null", reference_images=pictures)
    assert "invalid_request: reference_images" in refused.content[0].text
    refused = call(f"{http_origin}/mcp", "edit_image", prompt="a boat", image=pictures[0], reference_images=pictures)
    assert "the task image-to-image without a control picture and takes reference pictures" in refused.content[0].text


def test_a_call_that_does_not_wait_names_the_job_that_another_call_waits_for(http_origin: str, door: str):
    url = f"{http_origin}/mcp"
    started = call(url, "generate_image", prompt="x", model="null", steps=100, wait_seconds=0)
    assert started.structured_content["finished"] is False
    assert "get_job" in started.structured_content["next_step"]
    ended = call(url, "get_job", job_id=started.structured_content["job_id"], wait_seconds=30)
    assert ended.structured_content["finished"] is True
    assert picture_in(ended.content[0]).size == (8, 8)
    with ApiClient(door) as api:
        assert api.job(started.structured_content["job_id"]).status == "succeeded"


def test_an_agent_finds_earlier_pictures_by_their_words_with_thumbnails(target: StdioServerParameters | str):
    word = f"zebra{new_id('x').replace('_', '')}"

    async def work(client: Client) -> list[Any]:
        drawn = [
            await client.call_tool("generate_image", {"prompt": f"{word} {each}", "n": 2, **SMALL}) for each in "abc"
        ]
        first = await client.call_tool("search_images", {"query": word, "limit": 2})
        rest = {"query": word, "limit": 2, "cursor": first.structured_content["next_cursor"]}
        return [*drawn, first, await client.call_tool("search_images", rest)]

    *drawn, first, second = use(target, work)
    found = first.structured_content["jobs"] + second.structured_content["jobs"]
    ids = [answer.structured_content["job_id"] for answer in drawn]
    assert [job["job_id"] for job in found] == ids[::-1]
    assert found[0]["pictures"] == drawn[2].structured_content["pictures"]
    assert [job["thumbnail"] for job in found] == [0, 1, 0]
    thumbnail = picture_in(first.content[0])
    assert (thumbnail.format, thumbnail.size) == ("JPEG", (64, 64))
    assert [content.type for content in first.content] == ["image", "image", "text"]


def test_a_search_without_a_result_is_an_answer_and_its_limits_are_named(http_origin: str):
    url = f"{http_origin}/mcp"
    nothing = call(url, "search_images", query="nosuchwordanywhere", tag=None)
    assert nothing.structured_content == {"jobs": [], "next_cursor": None}
    for wrong in ({"limit": 0}, {"limit": 21}, {"query": "x" * 201}, {"cursor": "y" * 41}):
        assert call(url, "search_images", **wrong).is_error
    unsearchable = call(url, "search_images", query="!")
    assert "invalid_request: " in unsearchable.content[0].text


def test_an_agent_that_asks_for_progress_is_told_of_it_while_it_waits(target: StdioServerParameters | str):
    told: list[tuple[float, float | None, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    request = {"prompt": "x", "model": "null", "steps": 100, "wait_seconds": 30}
    answer = use(target, lambda client: client.call_tool("generate_image", request, progress_callback=note))
    assert answer.structured_content["finished"] is True
    values = [progress for progress, _, _ in told]
    assert values == sorted(values)
    assert told[-1] == (1.0, 1.0, "succeeded")
    assert len(told) > 1, "nothing was told before the end"


def test_texts_that_look_like_json_and_nulls_are_taken_as_an_agent_means_them(http_origin: str):
    nothing = dict.fromkeys(("style", "size", "negative_prompt", "seed", "steps"))
    answer = call(f"{http_origin}/mcp", "generate_image", prompt='["a cat"]', model="null", **nothing)
    assert (answer.structured_content["prompt"], answer.structured_content["model"]) == ('["a cat"]', "null")


@pytest.mark.parametrize(
    ("tool", "arguments", "reason"),
    [
        ("generate_image", {"prompt": "a cat", "size": "512x512"}, "invalid_request: width: 512x512 is not allowed"),
        ("generate_image", {"prompt": ""}, "invalid_request: Describe the picture you want."),
        ("generate_image", {"prompt": "a cat", "model": "none"}, "invalid_request: model: 'none' is not allowed"),
        (
            "generate_image",
            {"prompt": "a cat", "wait_seconds": 31},
            "invalid_request: wait_seconds: Input should be less",
        ),
        ("generate_image", {}, "invalid_request: prompt: Field required"),
        ("generate_image", {"prompt": "a cat", "width": 64}, "width: this tool has no such argument; it has prompt, "),
        ("list_models", {"task": "inpainting"}, "task: this tool has no such argument"),
        (
            "edit_image",
            {"prompt": "a cat", "image": "https://example.com/a.png"},
            "invalid_request: image: give the id",
        ),
        ("get_job", {"job_id": "job_none"}, "not_found: There is no job job_none."),
        ("get_job", {"job_id": "../keys"}, "invalid_request: job_id: String should match pattern"),
    ],
)
def test_an_error_tells_the_agent_what_to_change(http_origin: str, tool: str, arguments: dict[str, Any], reason: str):
    answer = call(f"{http_origin}/mcp", tool, **arguments)
    assert answer.is_error
    assert reason in answer.content[0].text


def test_a_service_that_is_away_is_an_error_and_no_crash():
    with mcp_over_http(f"http://127.0.0.1:{free_port()}") as origin:
        answer = call(f"{origin}/mcp", "list_models")
    assert answer.is_error
    assert "server_unreachable: No Limner server answers" in answer.content[0].text


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Host": "evil.example"}])
def test_a_page_of_another_site_cannot_call_a_tool_on_loopback(http_origin: str, headers: dict[str, Any]):
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    accept = {"Accept": "application/json, text/event-stream"}
    answer = httpx.post(f"{http_origin}/mcp", json=message, headers=accept | headers, trust_env=False)
    assert answer.status_code in (403, 421)


def test_on_another_address_every_request_needs_a_key(door: str):
    with mcp_over_http(door, "--host", "0.0.0.0") as origin:  # noqa: S104 - this is what the test is about
        refused = httpx.post(f"{origin}/mcp", json={}, trust_env=False)
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")


def test_the_guides_example_runs(
    http_origin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    apart(run_examples, "mcp.md", http_origin, default_port=8701)
    assert "succeeded img_" in capsys.readouterr().out
    with Image.open(tmp_path / "apple.png") as picture:
        assert picture.size == (256, 256)
