"""Every command of the guides for operators is run as it stands, with a real server, or is listed as not run."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner

from limner_client.cli.main import COMMANDS, cli
from limner_client.local.embedded_valkey import free_port
from limner_shared.db import ledger
from limner_shared.db.accounts import keys
from limner_shared.messaging.reports import WorkerReport, write_report
from tests.processes import Service, environment
from tests.redis_clients import redis_at

GUIDES: Final = Path(__file__).parents[2] / "docs" / "guides"
FOR_OPERATORS: Final = ("production", "monitoring", "multi-tenant", "safety", "backup", "kubernetes")
COMMENT: Final = re.compile(r"\s+# .*$")
BLOCK: Final = re.compile(r"^ *```bash\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
CONTINUED: Final = re.compile(r"\\\n\s*")
ASSIGNED: Final = re.compile(r"^(?:[A-Z_0-9]+=\S*\s*)*")
"""Variables before a command; a line of nothing else is a setting."""


def commands(guide: str) -> list[str]:
    """The lines of a guide that a reader would enter, without comments."""
    text = (GUIDES / f"{guide}.md").read_text("utf-8")
    lines = [line for block in BLOCK.findall(text) for line in CONTINUED.sub("", block).splitlines()]
    return [command for line in lines if (command := ASSIGNED.sub("", COMMENT.sub("", line)).strip())]


def not_run() -> set[str]:
    """The programs that the guide lists as not run by any test."""
    page = (GUIDES / "production.md").read_text("utf-8").partition("## Commands that no test runs")[2]
    rows = [row.split("|")[1] for row in page.splitlines() if row.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


@pytest.mark.parametrize("guide", FOR_OPERATORS)
def test_each_command_of_a_guide_exists_or_is_listed_as_not_run(guide: str) -> None:
    programs = {shlex.split(command)[0] for command in commands(guide)}
    assert programs <= {"limner", "curl"} | not_run(), "run it in a test, or list it in the guide with the reason"
    named = {shlex.split(command)[1] for command in commands(guide) if command.startswith("limner ")}
    assert named <= COMMANDS.keys()


@pytest.fixture
def operated(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Service, Path]]:
    """A web server with keys, a worker's report, and a folder with the files that the guides name."""
    ports = {"port": free_port(), "metrics_port": free_port()}
    service.change_settings(ports | {"require_keys": True, "metrics_key": "m" * 20, "web_workers": 1})
    folder = tmp_path / "operator"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "terms.txt").write_text("something\n")
    with service.database.write() as session:
        ledger.ensure_tenant(session, "acme", "acme")
        admin = keys.create(session, "local", "operator", scopes=("read", "submit", "admin"))
    service.change_settings({"api_key": admin})
    service.start_web()
    with redis_at(service.settings.redis_url) as redis:
        for owner in ("gpu-3:7:0123abcd", "gpu-3:8:0123abcd"):
            report = WorkerReport(owner=owner, models=["limner-flow"], device="cpu", held=0, closed=[], stalled=[])
            write_report(redis, report.model_copy(update={"draining": True}))
    yield service, folder
    service.stop()


class Operator:
    """Enters commands, and remembers what later ones need."""

    def __init__(self, service: Service, folder: Path) -> None:
        self._service = service
        self._folder = folder
        base = f"http://127.0.0.1:{service.settings.port}"
        self.names: dict[str, str] = {
            "https://pictures.example": base,
            "https://HOST": base,
            "127.0.0.1:9100": f"127.0.0.1:{service.settings.metrics_port}",
            "/backups/": f"{folder}/backups-",
            "/etc/limner/": f"{folder}/etc-",
            "/var/lib/limner/blobs": service.settings.resolved_blob_url,
            "s3://pictures": (folder / "copied").as_uri(),
        }
        self._more: dict[str, str] = {}

    def enter(self, command: str) -> str:
        """Run a command; returns what it prints."""
        for name, meant in self.names.items():
            command = command.replace(name, meant)
        variables = self._service.settings.variables | self._more
        if command.startswith("limner restore"):  # into an empty installation
            empty = {f"LIMNER_{name}": "" for name in ("DATABASE_URL", "BLOB_URL")}
            variables |= empty | {"LIMNER_DATA_DIR": str(self._folder / "restored")}
        if command.startswith("limner top"):
            command += " --once --interval 0.2"
        program, *words = shlex.split(command)
        if program == "limner":  # in this process, which has imported it
            entered = CliRunner(env=variables).invoke(cli, words)
            code, printed = entered.exit_code, entered.output
        else:
            line = ["bash", "-c", re.sub(r"^curl\b", "curl --fail-with-body --silent", command)]
            done = subprocess.run(
                line, env=environment(self._service.settings) | variables, capture_output=True, text=True, check=False
            )
            code, printed = done.returncode, done.stdout + done.stderr
        assert code == 0, f"{command}\n{printed}"
        self._remember(command, printed)
        return printed

    def _remember(self, command: str, printed: str) -> None:
        if (key := re.search(r"lmn_\w+", printed)) and command.startswith("limner keys create"):
            self._more["KEY"] = key[0]
            self.names.setdefault("KEY_ID", key[0].split("_")[1])
        if found := re.search(r"pause_\w+", printed):
            self.names["PAUSE_ID"] = found[0]


@pytest.mark.long
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_every_command_of_the_guides_for_operators_works_as_it_stands(operated: tuple[Service, Path]) -> None:
    service, folder = operated
    operator = Operator(service, folder)
    printed: Mapping[str, str] = {
        command: operator.enter(command)
        for guide in FOR_OPERATORS
        for command in commands(guide)
        if shlex.split(command)[0] not in not_run()
    }
    assert len(printed) > 25
    assert "holds no job" in printed["limner drain gpu-3 --wait"]
    assert (folder / "support.zip").exists()
    assert (folder / "restored" / "limner.db").exists()
    assert (folder / "copied").is_dir()
