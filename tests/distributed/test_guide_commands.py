"""Every command of the guides for operators is run as it stands, with a real server, or is listed as not run."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from limner_client.cli.main import COMMANDS
from limner_client.local.embedded_valkey import free_port
from limner_shared.db import ledger
from limner_shared.db.accounts import keys
from limner_shared.messaging.reports import WorkerReport, write_report
from limner_shared.settings import Settings
from tests.distributed.guide_operator import GUIDES, Operator, commands, lines, parts, program
from tests.processes import Service
from tests.receivers import Receiver, failure, receiver
from tests.redis_clients import redis_at

FOR_OPERATORS: Final = (
    "production",
    "monitoring",
    "multi-tenant",
    "safety",
    "backup",
    "kubernetes",
    "cells",
    "webhooks",
    "sign-in",
    "storage",
    "tracing",
    "secrets",
)
"""The guides of operators that have commands."""
TOML: Final = re.compile(r"^```toml\n(.*?)^```", re.MULTILINE | re.DOTALL)


def not_run() -> set[str]:
    """The programs that the guide lists as not run by any test."""
    page = (GUIDES / "production.md").read_text("utf-8").partition("## Commands that no test runs")[2]
    rows = [row.split("|")[1] for row in page.splitlines() if row.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


@pytest.mark.parametrize("guide", FOR_OPERATORS)
def test_each_command_of_a_guide_exists_or_is_listed_as_not_run(guide: str) -> None:
    entered = commands(guide)
    assert lines(guide), "a guide without commands needs no test"
    programs = {program(command) for command in entered}
    assert programs <= {"limner", "curl", "sh"} | not_run(), "run it in a test, or list it in the guide with the reason"
    named = {shlex.split(command)[1] for command in entered if command.startswith("limner ")}
    assert named <= COMMANDS.keys()


@pytest.mark.parametrize("guide", FOR_OPERATORS)
def test_each_setting_of_a_guide_exists(guide: str) -> None:
    text = (GUIDES / f"{guide}.md").read_text("utf-8")
    in_lines = {name for line in lines(guide) for name in parts(line)[0]}
    named = {name for name in {*in_lines, *re.findall(r"`(LIMNER_[A-Z_0-9]+)[`=]", text)} if name.startswith("LIMNER_")}
    assert {name.removeprefix("LIMNER_").lower() for name in named} <= Settings.model_fields.keys()


def test_the_commands_that_alerts_name_are_those_of_the_guides() -> None:
    rules = (GUIDES.parents[1] / "deploy" / "monitoring" / "rules.yml").read_text("utf-8")
    named = set(re.findall(r"`(limner [^`]+)`", rules))
    assert named
    assert named <= {command for guide in FOR_OPERATORS for command in commands(guide)}


@pytest.fixture
def operated(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Service, Path]]:
    """A web server with keys, a worker's report, and a folder with the files that the guides name."""
    ports = {"port": free_port(), "metrics_port": free_port()}
    changes = {
        "require_keys": True,
        "metrics_key": "m" * 20,
        "web_workers": 1,
    }
    service.change_settings(ports | changes | {"webhook_internal_targets": "127.0.0.1"})
    folder = tmp_path / "operator"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "terms.txt").write_text("something\n")
    (folder / "secrets-limner-oidc").write_text("the client's secret\n")
    shutil.copytree(GUIDES.parents[1] / "deploy", folder / "deploy")
    [cells] = TOML.findall((GUIDES / "cells.md").read_text("utf-8"))
    (folder / "cells.toml").write_text(cells)
    for name in ("etc-haproxy", "etc-limner"):
        (folder / name).mkdir()
    with service.database.write() as session:
        ledger.ensure_tenant(session, "acme", "acme")
        admin = keys.create(session, "local", "operator", scopes=("read", "submit", "admin"))
    service.change_settings({"api_key": admin})
    service.start_web()
    service.start("dispatcher")
    with redis_at(service.settings.redis_url) as redis:
        for owner in ("gpu-3:7:0123abcd", "gpu-3:8:0123abcd"):
            report = WorkerReport(owner=owner, models=["limner-flow"], device="cpu", held=0, closed=[], stalled=[])
            write_report(redis, report.model_copy(update={"draining": True}))
    yield service, folder
    service.stop()


@pytest.fixture
def shop() -> Iterator[Receiver]:
    """A receiver of webhooks that wants none of them, so that there are failed deliveries to look at."""
    with receiver(lambda _request: failure(410)) as started:
        yield started


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_every_command_of_the_guides_for_operators_works_as_it_stands(
    operated: tuple[Service, Path], shop: Receiver
) -> None:
    service, folder = operated
    operator = Operator(service, folder, shop.url)
    printed = {command: text for guide in FOR_OPERATORS for command, text in operator.follow(guide, not_run()).items()}
    assert len(printed) > 40
    assert "holds no job" in printed["limner drain gpu-3 --wait"]
    assert (folder / "support.zip").exists()
    assert (folder / "restored" / "limner.db").exists()
    assert (folder / "copied").is_dir()
    assert "backend" in (folder / "etc-haproxy" / "haproxy.cfg").read_text()
    assert printed["limner cells place cells.toml acme"].split() == ["b", "a"], "as the guide says"
    assert "410" in printed["limner webhooks test we_…"]
