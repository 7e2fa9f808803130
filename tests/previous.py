"""The release before this one, out of the repository's history: what runs beside this one while a deploy rolls."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

PREVIOUS: Final = "f6a7f50308a0"
ROOT: Final = Path(__file__).parents[1]
SOURCES: Final = ("shared", "web", "worker")


def unpack(folder: Path) -> dict[str, str]:
    """Write its sources into a folder; returns the environment in which Python runs them in place of these."""
    archive = subprocess.run(
        ["git", "archive", PREVIOUS, *SOURCES, "migrations"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return os.environ | {"PYTHONPATH": os.pathsep.join(str(folder / source) for source in SOURCES)}


def run(environment: dict[str, str], code: str, *arguments: str) -> str:
    """Run code in a process of the previous release; returns what it printed."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
