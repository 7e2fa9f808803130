"""Runs the previous release, taken from the repository's history: it runs beside this one in a rolling deploy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

PREVIOUS: Final = "f6a7f50308a0"
ROOT: Final = Path(__file__).parents[1]
SOURCES: Final = ("shared", "web", "worker")


COMMANDS: Final = {"worker": "limner_worker.cli", "dispatch": "limner_worker.cli", "serve": "limner_web.cli"}
"""The commands of its processes, and the module of each."""


def unpack(folder: Path, *more: str) -> dict[str, str]:
    """Write the previous release's sources, and `more` of its files, to a folder; returns the environment in which
    Python imports them.
    """
    archive = subprocess.run(
        ["git", "archive", PREVIOUS, *SOURCES, "migrations", *more],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return os.environ | {"PYTHONPATH": os.pathsep.join(str(folder / source) for source in SOURCES)}


def command(name: str) -> list[str]:
    """The command line of one of its processes, for the environment that `unpack` returns."""
    return [sys.executable, "-c", f"from {COMMANDS[name]} import {name}; {name}()"]


def run(environment: dict[str, str], code: str, *arguments: str) -> str:
    """Run code in a process of the previous release; returns its standard output."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
