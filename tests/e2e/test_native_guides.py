"""The examples of the guides to bulks and conversations work as they stand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from limner_client import Client
from tests.distributed.guide_operator import GUIDES, commands
from tests.e2e.guides import run_examples

JSON: Final = re.compile(r"^```json[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
pytestmark = pytest.mark.long


def json_blocks(guide: str) -> list[str]:
    return JSON.findall((GUIDES / f"{guide}.md").read_text("utf-8"))


@pytest.fixture
def enter(door: str, tmp_path: Path) -> Callable[[str], str]:
    """Enters a command of a guide in a folder; returns what it prints."""

    def run(command: str) -> str:
        program = f"{sys.executable} -m limner_client.cli.main" if command.startswith("limner") else "curl --fail -sS"
        line = f"{program} {command.partition(' ')[2]}".replace("http://127.0.0.1:8700", door)
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path,
            env=os.environ | {"LIMNER_SERVER_URL": door},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    return run


def ended(door: str, job_id: str) -> Any:
    with Client(door) as client:
        *_, job = client.wait(job_id)
    return job


def test_the_bulk_of_the_guide_is_drawn_and_its_bad_line_refused(
    door: str, tmp_path: Path, enter: Callable[[str], str]
):
    lines, refusal = json_blocks("bulk")
    (tmp_path / "prompts.jsonl").write_text(lines)
    by_command, by_http = commands("bulk")
    enter(by_command)
    assert len([file for file in (tmp_path / "out").rglob("*") if file.suffix == ".png"]) == 3
    assert json.loads(enter(by_http))["id"] == json.loads(enter(by_http))["id"]
    headers = {"Content-Type": "application/x-ndjson"}
    refused = httpx.post(f"{door}/api/v1/bulks", content=lines.replace("flat", "oil"), headers=headers).json()
    shown = json.loads(refusal)
    assert {name: refused[name] for name in shown} == shown


def test_the_conversation_of_the_guide_goes_on_from_its_picture(door: str, enter: Callable[[str], str]):
    begin, change, start = commands("conversation")
    conversation = json.loads(enter(begin))
    first = ended(door, conversation["turns"][0]["job"]["id"])
    turn = json.loads(enter(change.replace("conv_…", conversation["id"])))
    second = ended(door, turn["job"]["id"])
    assert (first.prompt, second.prompt, first.seed) == ("a red car", "a blue car", second.seed)
    mine = start.replace("img_…", second.images[0].id).replace("sdxl", "canvas")  # which stands for a reader's model
    started = json.loads(enter(mine))
    assert ended(door, started["turns"][0]["job"]["id"]).image is not None


def test_the_description_of_the_guide_says_what_is_drawn(door: str):
    [described] = json_blocks("conversation")
    made = httpx.post(f"{door}/api/v1/jobs", json=json.loads(described)).raise_for_status().json()
    job = ended(door, made["id"])
    assert (job.n, job.style, len(job.images)) == (3, "3d", 3)


def test_the_chat_of_the_guide_answers_with_a_picture(door: str, capsys: pytest.CaptureFixture[str]):
    run_examples("conversation.md", door)
    assert re.search(r"Here is your picture: a rocket.*\n\n!\[a rocket", capsys.readouterr().out)
