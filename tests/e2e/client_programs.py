"""Runs programs of `tests/clients`, each of which uses clients of other projects, and reads what they print."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from PIL import Image

CLIENTS: Final = Path(__file__).parents[1] / "clients"
GUIDES: Final = Path(__file__).parents[2] / "docs" / "guides"
SECONDS: Final = 180


def install_packages(source: Path, folder: Path) -> None:
    """Install the packages of a lock file in a folder, from the registry or npm's cache, beside the source's programs.

    Skips the test where that is not possible.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    for file in [*source.glob("*.mjs"), *source.glob("package*.json"), source / ".npmrc"]:
        shutil.copy(file, folder)
    command = ["npm", "ci", "--prefer-offline", "--ignore-scripts", "--omit=optional"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot install the packages: {done.stderr.strip()[-200:]}")


def run_program(command: Sequence[str], folder: Path, door: str) -> dict[str, Any]:
    """The JSON that a program prints; it is given the service's address and a PNG in base64."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 32), "red").save(buffer, "PNG")
    given = base64.b64encode(buffer.getvalue()).decode()
    outer = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [*command, door, given],
        cwd=folder,
        env=outer | {"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def examples(language: str) -> list[str]:
    """The examples in a language on the page about clients, each a program."""
    text = (GUIDES / "clients.md").read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def run_example(command: Sequence[str], folder: Path, program: Path, code: str, door: str) -> None:
    """Run an example against this service."""
    program.write_text(code.replace("http://127.0.0.1:8700", door), "utf-8")
    done = subprocess.run(
        [*command, program.name],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def jobs_of(door: str, text: str) -> int:
    """How many of the newest jobs have this prompt or description."""
    listed = httpx.get(f"{door}/api/v1/jobs").json()["items"]
    return sum(text in (job["prompt"], job["description"]) for job in listed)
