"""Every example of the guides to the doors is run as it stands; the Python ones by the test of their door."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from mcp import Client, StdioServerParameters
from openai import OpenAI

from limner_client.local.embedded_valkey import free_port
from limner_shared.domain.views import JobView
from limner_shared.domain.webhooks import EventType
from limner_shared.settings import Settings
from tests.distributed.test_guide_commands import FOR_OPERATORS
from tests.e2e.guides import GUIDES
from tests.e2e.running import apart
from tests.e2e.test_mcp import COMMAND, answers
from tests.processes import eventually

BLOCK: Final = re.compile(r"^ *```(\w*)[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
NATIVE: Final = ("python", "library", "bulk", "conversation")
DOORS: Final = ("openai", "replicate", "hugging-face", "a1111", "mcp", "webhooks", "clients", *NATIVE)
RUN_HERE: Final = {
    ("openai", "bash"),
    ("openai", "json"),
    ("replicate", "bash"),
    ("hugging-face", "bash"),
    ("a1111", "bash"),
    ("a1111", "json"),
    ("mcp", "bash"),
    ("mcp", "json"),
    ("webhooks", "json"),
}
RUN_ELSEWHERE: Final = {
    **{
        (guide, "python"): f"test_{guide.replace('-', '_')}.py"
        for guide in ("replicate", "hugging-face", "a1111", "mcp")
    },
    ("openai", "python"): "test_openai_images.py",
    ("webhooks", "python"): "../unit/webhooks/test_guide.py",
    ("webhooks", "bash"): "../distributed/test_guide_commands.py",
    ("clients", "python"): "test_python_clients.py",
    ("clients", "js"): "test_node_clients.py",
    ("python", "python"): "test_python_guide.py",
    **{("library", language): "test_library_guide.py" for language in ("bash", "python")},
    **{("bulk", language): "test_native_guides.py" for language in ("bash", "json")},
    **{("conversation", language): "test_native_guides.py" for language in ("bash", "json", "python")},
}
NOT_RUN: Final = {("mcp", "nginx"), ("conversation", "text")}
"""A proxy's setting, for which no proxy is installed here, and what an example prints."""


def blocks(guide: str, language: str) -> list[str]:
    text = (GUIDES / f"{guide}.md").read_text("utf-8")
    return [code for named, code in BLOCK.findall(text) if named == language]


def test_every_example_of_the_doors_is_run_by_a_test():
    found = {
        (guide, language)
        for guide in DOORS
        for language, _ in BLOCK.findall((GUIDES / f"{guide}.md").read_text("utf-8"))
    }
    assert found == RUN_HERE | RUN_ELSEWHERE.keys() | NOT_RUN
    for file in RUN_ELSEWHERE.values():
        assert (Path(__file__).parent / file).exists(), file
    assert "webhooks" in FOR_OPERATORS


@pytest.mark.parametrize(
    ("guide", "expected"),
    [
        ("openai", ['"b64_json"', "image_generation.completed"]),
        ("replicate", ['"status":"succeeded"']),
        ("hugging-face", [""]),
        ("a1111", ['"images": [']),
    ],
)
def test_the_calls_with_curl_draw(door: str, tmp_path: Path, guide: str, expected: list[str]):
    commands = [line for block in blocks(guide, "bash") for line in block.replace("\\\n", "").splitlines()]
    calls = [line for line in commands if line.startswith("curl ")]
    for call, text in zip(calls, expected, strict=True):
        strict = call.replace("curl", "curl --fail-with-body --silent --show-error", 1)
        line = strict.replace("http://127.0.0.1:8700", door)
        done = subprocess.run(
            ["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout[:500] + done.stderr
        assert text in done.stdout
    for file in tmp_path.iterdir():
        assert file.read_bytes()[1:4] == b"PNG"
    assert bool(list(tmp_path.iterdir())) == any(" -o " in call for call in calls)


def test_the_settings_of_the_openai_guide_are_the_services(monkeypatch: pytest.MonkeyPatch):
    lines = [line for block in blocks("openai", "bash") for line in block.splitlines() if line.startswith("LIMNER_")]
    assert lines
    for line in lines:
        *given, program, command = shlex.split(line)
        assert (program, command) == ("limner", "up")
        for each in given:
            monkeypatch.setenv(*each.split("=", 1))
    assert Settings().model_aliases == {"gpt-image-1": "", "dall-e-3": "limner-gan", "sdxl": "my-sdxl"}


def test_the_line_of_a_batch_is_one_that_a_batch_takes(door: str):
    [line] = blocks("openai", "json")
    with OpenAI(base_url=f"{door}/v1", api_key="unused", max_retries=0) as client:
        drawn = client.images.generate(model="canvas", prompt="a boat", size="64x32")
        picture = httpx.get(f"{door}/api/v1/images/{_first_image(door, drawn)}").content
        source = client.files.create(file=("boat.png", picture), purpose="vision")
        call = line.replace("file_01j9z3w6q4x7", source.id).encode()
        assert source.id.encode() in call
        requests = client.files.create(file=("requests.jsonl", call), purpose="batch")
        made = client.batches.create(input_file_id=requests.id, endpoint="/v1/images/edits", completion_window="24h")
        ended = eventually(lambda: _ended(client, made.id), 60)
    assert (ended.status, ended.request_counts.completed) == ("completed", 1)


def _first_image(door: str, drawn: Any) -> str:
    job = httpx.get(f"{door}/api/v1/jobs/{drawn.job_id}").json()
    return job["images"][0]["id"]


def _ended(client: OpenAI, batch_id: str) -> Any:
    batch = client.batches.retrieve(batch_id)
    return batch if batch.status in ("completed", "failed", "expired") else None


def test_the_refusal_of_the_a1111_guide_is_the_services(door: str):
    [shown] = blocks("a1111", "json")
    body = {"prompt": "x", "width": 64, "height": 64, "enable_hr": True}
    refused = httpx.post(f"{door}/sdapi/v1/txt2img", json=body)
    assert refused.status_code == 422
    answer = refused.json()
    assert {name: answer[name] for name in json.loads(shown)} == json.loads(shown)


def test_the_event_of_the_webhooks_guide_has_the_form_of_one():
    [shown] = blocks("webhooks", "json")
    event = json.loads(shown)
    assert event["type"] in set(EventType)
    assert event["object"] == "event"
    assert event["data"].keys() <= JobView.model_fields.keys()


@pytest.mark.long
def test_the_configuration_of_an_agents_host_starts_the_tools(door: str, monkeypatch: pytest.MonkeyPatch):
    [shown] = blocks("mcp", "json")
    server = json.loads(shown)["mcpServers"]["limner"]
    assert (server["command"], server["args"], set(server["env"])) == (
        "limner",
        COMMAND[2:],
        {"LIMNER_SERVER_URL", "LIMNER_API_KEY"},
    )
    environment = {"PYTHONPATH": os.environ.get("PYTHONPATH", ""), "LIMNER_SERVER_URL": door, "LIMNER_API_KEY": ""}
    started = StdioServerParameters(command=sys.executable, args=[*COMMAND[:2], *server["args"]], env=environment)

    async def tools() -> list[str]:
        async with Client(started) as client:
            return [tool.name for tool in (await client.list_tools()).tools]

    assert "generate_image" in apart(asyncio.run, tools())


@pytest.mark.long
def test_the_command_of_the_mcp_guide_serves_agents(door: str):
    [block] = blocks("mcp", "bash")
    program, *words = shlex.split(block)
    assert program == "limner"
    port = free_port()
    words = [str(port) if word == "8701" else word for word in words]
    command = [sys.executable, *COMMAND[:2], *words]
    with subprocess.Popen(command, env=os.environ | {"LIMNER_SERVER_URL": door}) as process:
        try:
            assert eventually(lambda: answers(port), 60)
        finally:
            process.terminate()
