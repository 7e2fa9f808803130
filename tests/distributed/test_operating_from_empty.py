"""The production guide is followed from an empty machine to the loss of everything and back, with its own commands."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from click.testing import CliRunner

from limner_client.cli.main import cli
from limner_client.local.embedded_valkey import free_port
from limner_shared.db.engine import Database
from limner_shared.messaging.hints import connect
from limner_shared.settings import Settings
from tests.distributed.guide_operator import GUIDES, commands
from tests.processes import Service

CARD = Path(__file__).parents[1] / "models" / "null.toml"
INI = re.compile(r"^ *```ini\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


class Machine:
    """A machine with nothing but the settings of the guide: its own database, store and backups."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.folder = folder
        own = {
            "LIMNER_DATABASE_URL": f"sqlite:///{folder}/limner.db",
            "LIMNER_REDIS_URL": redis_url,
            "LIMNER_BLOB_URL": (folder / "blobs").as_uri(),
        }
        self.variables = named_in_the_guide() | own
        self.variables |= {
            "LIMNER_DATA_DIR": f"{folder}/data",
            "LIMNER_DEFAULT_MODEL": "null",
            "LIMNER_MODELS": str(CARD),
        }
        self.settings = Settings(
            database_url=own["LIMNER_DATABASE_URL"],
            redis_url=redis_url,
            blob_url=own["LIMNER_BLOB_URL"],
            data_dir=folder / "data",
            models=(CARD,),
            default_model="null",
            require_keys=True,
            web_workers=1,
            port=free_port(),
        )
        self.client = {"LIMNER_SERVER_URL": f"http://127.0.0.1:{self.settings.port}"}
        self.service = Service(self.settings, Database.of(self.settings), folder)

    def enter(self, command: str) -> str:
        """Enter a command of a guide; returns what it prints."""
        words = command.replace("/backups/2026-11-26", f"{self.folder}/backup").split()[1:]
        entered = CliRunner(env=self.variables | self.client).invoke(cli, words)
        assert entered.exit_code == 0, f"{command}\n{entered.output}"
        return entered.output

    def start(self) -> None:
        self.service.start("dispatcher")
        self.service.start_web()
        self.service.start_workers(1, "--model=null")

    def stop(self) -> None:
        for process in self.service.processes:
            process.send_signal(signal.SIGTERM)
        assert {process.wait(60) for process in self.service.processes} == {0}, self.service.logs()
        self.service.processes.clear()

    def lose_everything(self) -> None:
        self.service.database.dispose()
        for file in self.folder.glob("limner.db*"):
            file.unlink()
        shutil.rmtree(self.folder / "blobs")
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        with connect(self.settings.redis_url) as redis:
            cast("Any", redis).flushdb()


def named_in_the_guide() -> dict[str, str]:
    """The settings that the guide writes to /etc/limner/limner.env."""
    [block] = [each for each in INI.findall((GUIDES / "production.md").read_text("utf-8")) if "DATABASE_URL" in each]
    return dict(line.strip().split("=", 1) for line in block.splitlines() if line.strip())


def the(wanted: str, guide: str = "production") -> str:
    """The command of a guide that begins so."""
    return next(command for command in commands(guide) if command.startswith(wanted))


@pytest.fixture
def machine(tmp_path: Path, redis_url: str) -> Iterator[Machine]:
    made = Machine(tmp_path, redis_url)
    yield made
    made.service.stop()
    made.service.database.dispose()


@pytest.mark.long
@pytest.mark.timeout(600)
def test_an_operator_installs_draws_backs_up_loses_everything_and_restores(machine: Machine) -> None:
    machine.enter("limner db upgrade")
    machine.start()
    for key in (machine.enter(the("limner keys create NAME")), machine.enter(the("limner keys create local"))):
        machine.client["LIMNER_API_KEY"] = re.findall(r"lmn_\w+", key)[0]
    assert "fail" not in machine.enter("limner doctor")
    picture = machine.folder / "apple.png"
    machine.enter(f"limner generate apple -o {picture}")
    machine.enter(the("limner backup", "backup"))
    machine.enter(f"limner generate pear -o {machine.folder}/pear.png")
    machine.stop()
    machine.lose_everything()

    machine.enter(the("limner restore", "backup"))
    machine.enter(the("limner check", "backup"))
    machine.start()
    headers = {"Authorization": f"Bearer {machine.client['LIMNER_API_KEY']}"}
    with httpx.Client(base_url=machine.client["LIMNER_SERVER_URL"], headers=headers, trust_env=False) as client:
        [job] = client.get("/api/v1/jobs").json()["items"]
        assert (job["prompt"], job["status"]) == ("apple", "succeeded"), "what was drawn after the backup is gone"
        assert client.get(job["images"][0]["url"]).content == picture.read_bytes()
    machine.enter(f"limner generate plum -o {machine.folder}/plum.png")
    assert "fail" not in machine.enter("limner doctor")
    machine.enter("limner check")
    machine.stop()
