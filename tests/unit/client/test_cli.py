"""The command line: help, missing extras, settings, databases, doctor and demo."""

from __future__ import annotations

import io
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.cli_services import run
from tests.redis_clients import redis_at

from limner_client.cli.main import COMMANDS
from limner_client.local.contact_sheet import Tile, contact_sheet
from limner_client.local.demo import requests
from limner_client.local.doctor import card_checks, database_check, dispatcher_checks, worker_checks
from limner_client.local.embedded_valkey import free_port
from limner_client.local.findings import State
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest
from limner_shared.messaging.reports import DispatcherReport, WorkerReport, write_report
from limner_shared.settings import Settings

WITHOUT = "import sys; sys.modules[sys.argv.pop(1)] = None; from limner_client.cli.main import main; main()"
"""Program that runs the command line as if the module named by its first argument were not installed."""


def python(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False)


def test_help_lists_every_command_without_importing_any() -> None:
    program = (
        "import sys; from limner_client.cli.main import cli; cli(['--help'], standalone_mode=False)\n"
        "print(sorted({'torch', 'flask', 'sqlalchemy', 'httpx', 'celery', 'rich'} & sys.modules.keys()))"
    )
    shown = python(program)
    assert shown.stdout.splitlines()[-1] == "[]"
    assert all(f"  {name} " in shown.stdout for name in COMMANDS)


def test_the_help_of_our_commands_imports_neither_torch_nor_flask() -> None:
    own = [name for name, lazy in COMMANDS.items() if lazy.extra in (None, "server", "service")]
    program = (
        "import sys; from limner_client.cli.main import cli\n"
        "for name in sys.argv[1:]: cli([name, '--help'], standalone_mode=False)\n"
        "print(sorted({'torch', 'flask'} & sys.modules.keys()))"
    )
    shown = python(program, *own)
    assert shown.stdout.splitlines()[-1] == "[]", shown.stderr


def test_a_command_with_a_missing_extra_names_the_extra() -> None:
    shown = python(WITHOUT, "numpy", "worker")
    assert shown.returncode == 1
    assert shown.stderr.splitlines()[-1] == (
        "Error: `limner worker` needs the extra 'worker': pip install 'limner[worker]' (no module 'numpy')"
    )
    assert "Traceback" not in shown.stderr


def test_a_missing_base_dependency_is_not_reported_as_a_missing_extra() -> None:
    assert "ModuleNotFoundError" in python(WITHOUT, "httpx", "jobs").stderr


def test_an_invalid_setting_is_reported_in_one_line_with_its_name() -> None:
    shown = run("models", port="many")
    assert shown.exit_code == 2
    assert shown.stderr.startswith("Error: LIMNER_PORT: ")
    assert len(shown.stderr.splitlines()) == 1


def test_an_unknown_command_is_a_usage_error() -> None:
    assert run("paint").exit_code == 2


def test_db_upgrades_and_downgrades(tmp_path: Path) -> None:
    settings = {"data_dir": str(tmp_path)}
    assert run("db", "current", **settings).exit_code == 1
    assert run("db", "upgrade", **settings).exit_code == 0
    assert run("db", "current", **settings).exit_code == 0
    assert run("db", "downgrade", "base", "--yes", **settings).exit_code == 0
    assert run("db", "current", **settings).exit_code == 1


def test_a_newer_schema_is_not_to_be_upgraded_and_nothing_advises_it(tmp_path: Path) -> None:
    settings = {"data_dir": str(tmp_path)}
    assert database_check(Settings(data_dir=tmp_path)).state is State.WARN
    assert run("db", "upgrade", **settings).exit_code == 0
    assert database_check(Settings(data_dir=tmp_path)).state is State.OK
    with closing(sqlite3.connect(tmp_path / "limner.db")) as database, database:
        database.execute("UPDATE schema_revision SET version_num = '9999'")
        database.execute("UPDATE alembic_version SET version_num = '9998'")
    found = database_check(Settings(data_dir=tmp_path))
    assert found.state is State.FAIL
    said = {"doctor": f"{found.found} {found.advice}"}
    for words in (("current",), ("upgrade",), ("downgrade", "base", "--yes")):
        shown = run("db", *words, **settings)
        assert shown.exit_code > 0
        said[words[0]] = f"{shown.output} {shown.exception}"
    assert [name for name, each in said.items() if "newer version" not in each] == []
    assert [name for name, each in said.items() if "run `limner db upgrade`" in each.lower()] == []


def test_db_reports_an_unreachable_database_in_one_line(tmp_path: Path) -> None:
    shown = run("db", "upgrade", database_url=f"postgresql://unknown@127.0.0.1:{free_port()}/limner")
    assert shown.exit_code == 1
    assert "LIMNER_DATABASE_URL" in shown.stderr
    assert len(shown.stderr.splitlines()) == 1


def test_doctor_lists_the_problems_and_their_settings(tmp_path: Path) -> None:
    redis = f"redis://127.0.0.1:{free_port()}/0"
    shown = run("doctor", data_dir=str(tmp_path), redis_url=redis, default_model="none")
    assert shown.exit_code == 1
    for words in ("LIMNER_REDIS_URL", "LIMNER_DEFAULT_MODEL", "python", "device", "disk", "port", "2 checks failed"):
        assert words in shown.output


def test_doctor_reports_no_problem_with_an_empty_folder(tmp_path: Path) -> None:
    shown = run("doctor", data_dir=str(tmp_path), port=str(free_port()))
    assert shown.exit_code == 0, shown.output
    assert "Limner can run here." in shown.output


CARD = """name = "own"
title = "Own"
family = "latent-flow"
source = { folder = "model" }
text_encoder = { folder = "text" }
codec = { folder = "codec" }
preview = { folder = "preview" }
sizes = [[64, 64]]
steps = { min = 1, max = 50, default = 4 }
guidance = { min = 0, max = 20, default = 5 }
adapters = { ink = { folder = "ink" } }
reference = { adapter = { folder = "likeness" } }
"""


@pytest.mark.parametrize("missing", [None, "model", "text", "codec", "preview", "ink", "likeness"])
def test_doctor_finds_everything_beside_a_card_that_a_worker_would_load(tmp_path: Path, missing: str | None) -> None:
    for folder in ("model", "text", "codec", "preview", "ink", "likeness"):
        if folder != missing:
            (tmp_path / folder).mkdir()
    card = tmp_path / "own.toml"
    card.write_text(CARD)
    [own] = [check for check in card_checks(Settings(models=(card,))) if check.name == "model own"]
    found = "weights found" if missing is None else f"not found: {tmp_path / missing}"
    assert (own.state, own.found) == (State.WARN if missing else State.OK, found)


def report(**changed: Any) -> DispatcherReport:
    values: dict[str, Any] = {"owner": "host:7", "leads": ["dispatch"], "finished": {}, "failures": {}, "set_aside": []}
    return DispatcherReport.model_validate(values | {"set_aside_count": 0, "threads": {"release": None}} | changed)


def test_doctor_shows_items_set_aside_by_dispatchers_and_slow_threads(tmp_path: Path, redis_url: str) -> None:
    aside = {"duty": "sweep bulks", "item": "bulk_7", "error": "IntegrityError", "failures": 4, "retry_in": 8.0}
    with redis_at(redis_url) as client:
        write_report(client, report(set_aside=[aside], set_aside_count=1))
    shown = run("doctor", data_dir=str(tmp_path), redis_url=redis_url, port=str(free_port()))
    assert shown.exit_code == 0, shown.output
    assert "bulk_7" in shown.output
    [slow] = dispatcher_checks([report(threads={"retention": 31.0, "release": 0.1})])
    assert (slow.state, "retention" in slow.found, "release" in slow.found) == (State.FAIL, True, False)
    [healthy] = dispatcher_checks([report()])
    assert healthy.state is State.OK
    [none] = dispatcher_checks([])
    assert none.state is State.WARN


@pytest.mark.parametrize(
    ("changed", "state"),
    [
        ({}, State.OK),
        ({"closed": ["limner-flow"]}, State.WARN),
        ({"draining": True}, State.WARN),
        ({"stalled": ["engine"]}, State.FAIL),
    ],
)
def test_doctor_shows_paused_models_and_stalled_threads_of_workers(changed: dict[str, Any], state: State) -> None:
    values = {"owner": "b", "models": ["limner-flow"], "device": "cpu", "held": 3, "closed": [], "stalled": []}
    [found] = worker_checks([WorkerReport.model_validate(values | changed)])
    assert found.state is state
    [none] = worker_checks([])
    assert none.state is State.WARN


def test_the_requests_of_the_demo_are_valid_for_the_built_in_model(catalogue: Catalogue) -> None:
    singles, bulk = requests()
    assert (len(singles), len(bulk)) == (8, 32)
    for request in (*singles, *bulk):
        catalogue.resolve(JobRequest.model_validate(request))
    assert {request["style"] for request in bulk} == set(catalogue.get(None).styles)
    assert len({(request["prompt"], request["style"]) for request in bulk}) == 32


def test_a_contact_sheet_shows_every_tile() -> None:
    data = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(data, "PNG")
    tile = Tile(data.getvalue(), "a prompt that is much too long to stand under so small a picture", "3d")
    small, large = (contact_sheet([tile] * count, "Limner", "", columns=8) for count in (8, 9))
    assert large.height > small.height
    assert small.getpixel((150, 216)) == (255, 0, 0)
