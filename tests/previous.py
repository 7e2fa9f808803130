"""Runs earlier releases, taken from the repository's history: they run beside this one in a rolling deploy."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Release:
    """A commit, and how its programs are started."""

    commit: str
    sources: tuple[str, ...]
    commands: Mapping[str, str]
    """Code that runs each of its processes, by this release's names of them."""
    upgrade: str
    """Code that creates its schema in the database whose URL is the argument."""


EARLY: Final = Release(
    "f6a7f50308a0",
    ("shared", "web", "worker"),
    {
        "worker": "from limner_worker.cli import worker; worker()",
        "dispatcher": "from limner_worker.cli import dispatch; dispatch()",
        "serve": "from limner_web.cli import serve; serve()",
    },
    "import sys; from limner_shared.database import upgrade; upgrade(sys.argv[1])",
)
"""The first release whose programs every later schema serves: its packages, tables and commands had other names."""


def latest() -> Release:
    """The release before this one: the last commit before the day, in UTC, of the newest commit.

    A release of some hours ago would often be the same program; and a fixed commit grows old.
    """
    today = _git("log", "-1", "--format=%cd", "--date=format-local:%Y-%m-%dT00:00:00Z")
    commit = _git("log", "-1", "--first-parent", "--format=%H", f"--before={today}")
    start = "import sys; from limner_client.cli.main import main; sys.argv = ['limner', '{}']; main()"
    commands = {name: start.format(name) for name in ("worker", "dispatcher", "serve")}
    upgrade = "import os, sys; os.environ['LIMNER_DATABASE_URL'] = sys.argv[1]; " + start.format("db', 'upgrade")
    return Release(commit, ("shared", "web", "worker", "dispatcher", "client"), commands, upgrade)


def unpack(folder: Path, *more: str, release: Release = EARLY) -> dict[str, str]:
    """Write a release's sources, and `more` of its files, to a folder; returns the environment in which Python imports
    them.
    """
    archive = subprocess.run(
        ["git", "archive", release.commit, *release.sources, "migrations", *more],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return os.environ | {"PYTHONPATH": os.pathsep.join(str(folder / source) for source in release.sources)}


def command(name: str, release: Release = EARLY) -> list[str]:
    """The command line of one of its processes, for the environment that `unpack` returns."""
    return [sys.executable, "-c", release.commands[name]]


def run(environment: dict[str, str], code: str, *arguments: str) -> str:
    """Run code in a process of a release; returns its standard output."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _git(*words: str) -> str:
    utc = os.environ | {"TZ": "UTC"}
    return subprocess.run(["git", *words], cwd=ROOT, env=utc, check=True, capture_output=True, text=True).stdout.strip()
