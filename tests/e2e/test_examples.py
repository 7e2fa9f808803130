"""The programs in examples/ do what they say, against a service as `limner up` starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

from limner_client import Client

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(door: str, name: str, *arguments: str) -> str:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    environment = os.environ | {"LIMNER_SERVER_URL": door}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_client_saves_a_picture(door: str, tmp_path: Path):
    assert "succeeded" in run(door, "python_client.py", "a red apple", str(tmp_path / "apple.png"))
    with Image.open(tmp_path / "apple.png") as picture:
        assert picture.size == (256, 256)


def test_several_jobs_are_polled_at_once(door: str):
    lines = run(door, "poll_with_etag.py", "a cat", "a dog").splitlines()
    assert sorted(line[: len("a cat succeeded")] for line in lines) == ["a cat succeeded", "a dog succeeded"]


def test_events_are_printed_until_the_job_has_ended(door: str):
    assert "succeeded" in run(door, "watch_events.py", "a red apple").splitlines()[-1]


def test_a_bulk_that_is_sent_twice_is_made_once(door: str, tmp_path: Path):
    prompts = ["a kitten", "a puppy", "a fox cub"]
    (tmp_path / "prompts.txt").write_text("\n\n".join(prompts))
    first, second = (run(door, "send_bulk.py", str(tmp_path / "prompts.txt")) for _ in range(2))
    results = [line for line in first.splitlines() if "succeeded" in line]
    assert [line.split()[0] for line in results] == ["1", "2", "3"]
    assert results == [line for line in second.splitlines() if "succeeded" in line]
    with Client(door) as client:
        assert len([job for job in client.jobs().items if job.prompt in prompts]) == 3


def test_a_conversation_is_printed_turn_by_turn(door: str):
    said = run(door, "conversation.py", "a red car, please", "make it blue")
    assert "> a red car, please" in said
    assert "blue car" in said


def test_the_example_card_is_served(door: str):
    with Client(door) as client:
        assert "small-flat" in {model.name for model in client.models()}
        *_, job = client.wait(client.submit({"prompt": "a cat", "model": "small-flat"}).id)
    assert (job.status, job.width, job.style) == ("succeeded", 64, "flat")
