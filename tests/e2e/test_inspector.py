"""The inspector of MCP, unmodified, with `limner mcp` by HTTP and on stdio."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.client_programs import CLIENTS, install_packages
from tests.e2e.test_mcp import COMMAND, mcp_over_http

Inspect = Callable[..., Any]
"""Runs the inspector with these words, and returns the JSON that it prints."""
TOOL_ERROR = 5
"""The inspector's exit status where a tool has answered with an error."""
DRAWING = ("tools/call", "--tool-name", "generate_image", "--tool-arg", "prompt=a cat", "model=limner-gan", "seed=7")
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def inspect(tmp_path_factory: pytest.TempPathFactory) -> Inspect:
    folder = tmp_path_factory.mktemp("inspector")
    install_packages(CLIENTS / "inspector", folder)

    def run(*words: str) -> Any:
        command = ["node", "node_modules/.bin/mcp-inspector", "--cli", *words]
        environment = os.environ | {"MCP_CATALOG_PATH": str(folder / "catalog.json")}
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode in (0, TOOL_ERROR), done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="module", params=["http", "stdio"])
def target(request: pytest.FixtureRequest, door: str) -> Iterator[list[str]]:
    """The words that lead the inspector to a server."""
    if request.param == "stdio":
        yield ["-e", f"LIMNER_SERVER_URL={door}", sys.executable, *COMMAND]
        return
    with mcp_over_http(door) as origin:
        yield [f"{origin}/mcp", "--transport", "http"]


def test_the_inspector_lists_the_tools_and_draws(inspect: Inspect, target: list[str]):
    tools = inspect(*target, "--method", "tools/list")["tools"]
    assert {"generate_image", "edit_image", "get_job", "list_models", "search_images"} == {t["name"] for t in tools}
    drawn = inspect(*target, "--method", *DRAWING)
    assert [part["type"] for part in drawn["content"]] == ["image", "text"]
    assert (drawn["structuredContent"]["status"], drawn["structuredContent"]["seed"]) == ("succeeded", 7)


def test_the_inspector_shows_an_error_with_its_code(inspect: Inspect, target: list[str]):
    refused = inspect(*target, "--method", "tools/call", "--tool-name", "get_job", "--tool-arg", "job_id=job_0")
    assert refused["isError"]
    assert "not_found: " in refused["content"][0]["text"]
