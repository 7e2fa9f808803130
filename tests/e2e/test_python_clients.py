"""litellm, LangChain, the Agents SDK, fastmcp and a generated client against a real service; `make clients` installs
them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.client_programs import CLIENTS, examples, jobs_of, run_example, run_program
from tests.e2e.test_mcp import mcp_over_http

PYTHON = Path(__file__).parents[2] / "dist" / "clients" / "bin" / "python"
CALL = "image_generation_call"
pytestmark = pytest.mark.skipif(
    not PYTHON.exists(),
    reason="`make clients` installs litellm, LangChain, the Agents SDK, fastmcp and a generator, and runs this",
)


def run(program: str, door: str) -> dict[str, Any]:
    return run_program([str(PYTHON), "-W", "ignore", program], CLIENTS / "python", door)


def test_litellm_draws_edits_chats_and_runs_a_batch(door: str) -> None:
    found = run("litellm_calls.py", door)
    assert (found["generate"], found["edit"]) == (["PNG", "PNG"], "PNG")
    assert "![" in found["chat"]
    assert "![" in found["stream"]
    assert found["response"] == [CALL, "message"]
    assert (found["events"][0], found["events"][-1]) == ("response.created", "response.completed")
    assert (found["later"], found["referred"], found["flagged"]) == ("PNG", "PNG", [False])
    assert found["batch"] == ["completed", 200]
    assert found["errors"] == [["BadRequestError", 422], ["NotFoundError", 404]]
    assert (found["retried"], jobs_of(door, "again in litellm")) == (1, 1)


def test_langchain_draws_chats_and_goes_on_from_earlier_answers(door: str) -> None:
    found = run("langchain_calls.py", door)
    assert httpx.get(found["url"]).content[1:4] == b"PNG"
    assert "![" in found["chat"]
    assert "![" in found["stream"]
    for name in ("blocks", "later", "edit", "referred", "retried"):
        assert found[name] == [CALL, "text"], name
    assert (found["streamed"], found["picture"]) == ([CALL, "text"], "PNG")
    assert "apple" in found["text"]
    assert found["errors"] == [
        ["OpenAIModelNotFoundError", 404, "model"],
        ["UnprocessableEntityError", 422, "conversation"],
    ]
    assert jobs_of(door, "again in langchain") == 1


def test_an_agent_of_the_agents_sdk_draws_by_its_tool(door: str) -> None:
    found = run("agents_calls.py", door)
    assert found["items"] == ["tool_call_item", "message_output_item"]
    assert "apple" in found["text"]
    assert "blue" in found["later"]
    assert "green" in found["again"]
    assert found["events"] == ["agent_updated_stream_event", "raw_response_event", "run_item_stream_event"]
    assert "boat" in found["streamed"]
    assert "![" in found["chat"]
    assert found["error"] == ["NotFoundError", 404]


def test_fastmcp_uses_every_tool(door: str) -> None:
    with mcp_over_http(door) as origin:
        found = run("fastmcp_calls.py", origin)
    assert found["others"] == [0, 0]
    assert found["tools"] == ["generate_image", "edit_image", "get_job", "search_images", "list_models"]
    assert {"limner-gan", "null", "canvas"} <= set(found["models"])
    assert found["drawn"] == ["succeeded", True, ["PNG", "PNG"]]
    assert (found["searched"], found["edited"], found["given"]) == (True, ["succeeded", ["PNG"]], ["PNG"])
    assert found["later"] == [False, True, ["PNG"]]
    assert found["progress"][-1] == [1.0, 1.0, "succeeded"]
    codes = ("invalid_request: width", "invalid_request: width", "not_found", "invalid_request: image", "Unknown tool")
    assert [code for code, told in zip(codes, found["refused"], strict=True) if f"{code}: " not in told] == []
    assert found["together"] == ["succeeded"] * 4


def test_a_client_generated_from_the_openapi_document(door: str) -> None:
    found = run("generated_calls.py", door)
    assert found["unread"] == []
    assert "canvas" in found["models"]
    assert found["ended"] == ["succeeded", 2, True]
    assert found["listed"]
    assert (found["refused"], found["missing"]) == (["Problem", "invalid_request"], ["Problem", 404])


@pytest.mark.parametrize("number", range(len(examples("python"))))
def test_an_example_of_the_guide_runs(door: str, tmp_path: Path, number: int) -> None:
    command = [str(PYTHON), "-W", "ignore"]
    run_example(command, tmp_path, tmp_path / f"example_{number}.py", examples("python")[number], door)
