"""The programs in examples/ do what they say, against a service as `limner up` starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from tests.e2e.running import limner_up

from limner_client import Client
from limner_client.local.embedded_valkey import free_port

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service that also serves the example's card; yields its URL."""
    port = free_port()
    with limner_up(tmp_path_factory.mktemp("examples") / "data", port, LIMNER_MODELS=str(EXAMPLES / "cards")):
        yield f"http://127.0.0.1:{port}"


def run(server: str, name: str, *arguments: str) -> str:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    environment = os.environ | {"LIMNER_SERVER_URL": server}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_client_saves_a_picture(server: str, tmp_path: Path):
    assert "succeeded" in run(server, "python_client.py", "a red apple", str(tmp_path / "apple.png"))
    with Image.open(tmp_path / "apple.png") as picture:
        assert picture.size == (256, 256)


def test_several_jobs_are_polled_at_once(server: str):
    lines = run(server, "poll_with_etag.py", "a cat", "a dog").splitlines()
    assert sorted(line[: len("a cat succeeded")] for line in lines) == ["a cat succeeded", "a dog succeeded"]


def test_events_are_printed_until_the_job_has_ended(server: str):
    assert "succeeded" in run(server, "watch_events.py", "a red apple").splitlines()[-1]


def test_a_bulk_that_is_sent_twice_is_made_once(server: str, tmp_path: Path):
    (tmp_path / "prompts.txt").write_text("a cat\na dog\n\na fox\n")
    first, second = (run(server, "send_bulk.py", str(tmp_path / "prompts.txt")) for _ in range(2))
    results = [line for line in first.splitlines() if "succeeded" in line]
    assert [line.split()[0] for line in results] == ["1", "2", "3"]
    assert results == [line for line in second.splitlines() if "succeeded" in line]
    with Client(server) as client:
        assert len([job for job in client.jobs().items if job.bulk]) == 3


def test_a_conversation_is_printed_turn_by_turn(server: str):
    said = run(server, "talk.py", "a red car, please", "make it blue")
    assert "> a red car, please" in said
    assert "blue car" in said


def test_the_example_card_is_served(server: str):
    with Client(server) as client:
        assert "small-flat" in {model.name for model in client.models()}
        *_, job = client.wait(client.submit({"prompt": "a cat", "model": "small-flat"}).id)
    assert (job.status, job.width, job.style) == ("succeeded", 64, "flat")
