"""The official clients for Node, unmodified, against a real service: openai, replicate, and the AI SDK."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.e2e.client_programs import CLIENTS, examples, install_packages, jobs_of, run_example, run_program

PROGRAMS: Final = CLIENTS / "node"
CALL: Final = "image_generation_call"


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the programs and their packages."""
    folder = tmp_path_factory.mktemp("node")
    install_packages(PROGRAMS, folder)
    return folder


def run(packages: Path, program: str, door: str) -> dict[str, Any]:
    return run_program(["node", program], packages, door)


def test_no_address_of_a_registry_is_in_the_lock_file() -> None:
    for file in CLIENTS.glob("*/package-lock.json"):
        assert '"resolved"' not in file.read_text("utf-8")


@pytest.mark.long
def test_the_openai_client_for_node_makes_its_calls_and_gets_its_own_errors(packages: Path, door: str) -> None:
    found = run(packages, "openai.mjs", door)
    assert found["generate"] == {"kind": "webp", "seeds": [5, 6], "size": "64x32"}
    assert found["stream"] == ["image_generation.partial_image", "image_generation.completed"]
    assert (found["edit"], found["editStream"]) == ("png", ["image_edit.completed"])
    assert (found["variation"], found["flagged"]) == ("a ship", [False])
    for name in ("referred", "looked"):
        assert len(httpx.get(f"{door}/api/v1/jobs/{found[name]}").json()["reference_images"]) == 2, name
    assert (found["files"]["same"], found["files"]["deleted"]) == (True, True)
    assert {"canvas", "gpt-image-1"} <= set(found["models"])
    assert (found["response"]["status"], found["response"]["output"]) == ("completed", [CALL, "message"])
    assert "apple" in found["response"]["text"]
    assert found["later"]
    assert (found["responseStream"][0], found["responseStream"][-1]) == ("response.created", "response.completed")
    assert "response.image_generation_call.completed" in found["responseStream"]
    assert (found["behind"][-1], "response.created" in found["behind"]) == ("response.completed", False)
    assert found["helper"] == [CALL, "message"]
    assert "![" in found["chat"]
    assert "![" in found["chatStream"]
    told = {"event": ["batch.completed", True], "status": "completed", "picture": "png", "listed": True}
    assert (found["batch"], found["forged"]) == (told, "InvalidWebhookSignatureError")
    assert found["errors"] == [
        ["UnprocessableEntityError", 422, "invalid_request", "size"],
        ["NotFoundError", 404, "model_not_found", "model"],
        ["UnprocessableEntityError", 422, "invalid_request", "tools[0]"],
        ["NotFoundError", 404, "not_found", None],
    ]
    assert jobs_of(door, "again in node") == 1


@pytest.mark.long
def test_the_replicate_client_for_node_makes_its_calls_and_gets_its_own_errors(packages: Path, door: str) -> None:
    found = run(packages, "replicate.mjs", door)
    assert (found["run"], found["uploaded"]) == ("PNG", "PNG")
    assert found["progress"]["last"] == "succeeded"
    assert found["progress"]["first"] in ("starting", "processing")
    assert found["prediction"] == {"status": "succeeded", "seed": 3}
    assert (found["listed"], found["canceled"], found["versions"]) == (True, "canceled", 1)
    assert (found["stream"].count("output"), found["stream"][-1]) == (2, "done")
    assert "limner/canvas" in found["models"]
    assert found["deployment"] == "limner/canvas"
    assert found["file"]["type"] == "image/png"
    assert (found["file"]["metadata"], found["file"]["used"]) == ({"page": 3}, "succeeded")
    assert found["deleted"]
    assert found["webhook"] == {"same": True, "valid": True, "changed": False}
    assert len(httpx.get(f"{door}/api/v1/jobs/{found['referred']}").json()["reference_images"]) == 2
    assert (found["account"], found["hardware"], found["trainings"]) == ("organization", ["self-hosted"], 0)
    assert (found["searched"], found["collection"], found["deployments"]) == (["canvas"], ["canvas"], True)
    assert "text-to-image" in found["collections"]
    assert [status for _, status in found["errors"]] == [422, 404, 404, 405, 404, 405]
    assert found["retried"] == {"status": "succeeded", "tries": 3}


@pytest.mark.long
def test_the_ai_sdk_draws_edits_chats_and_streams(packages: Path, door: str) -> None:
    found = run(packages, "ai.mjs", door)
    assert (found["generate"], found["edit"]) == (["image/png"] * 2, ["image/png"])
    assert (found["response"]["results"], found["result"]) == (1, "PNG")
    assert "apple" in found["response"]["text"]
    assert {"tool-call", "tool-result", "text-delta", "finish"} <= set(found["stream"])
    assert "error" not in found["stream"]
    assert "![" in found["chat"]
    assert "![" in found["chatStream"]
    assert [(status, retryable) for _, status, retryable, _ in found["errors"]] == [(422, False), (404, False)]
    assert found["replicate"] == [["image/png"] * 2, ["image/png"], ["image/webp"]]
    assert found["wide"] == [422, "aspect_ratio:"]
    assert (found["repeated"], jobs_of(door, "once in the ai sdk")) == (True, 1)


@pytest.mark.long
@pytest.mark.parametrize("number", range(len(examples("js"))))
def test_an_example_of_the_guide_runs(packages: Path, door: str, number: int) -> None:
    run_example(["node"], packages, packages / f"example-{number}.mjs", examples("js")[number], door)
