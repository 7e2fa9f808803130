"""Tenants' weights, limits and retention, in the database and on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from limner_client.cli.main import cli
from limner_shared.db.accounts import tenants
from limner_shared.db.engine import Database, upgrade


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs `limner tenants …` with its own database."""
    monkeypatch.setenv("LIMNER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    upgrade(f"sqlite:///{tmp_path / 'limner.db'}")

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(cli, ["tenants", *arguments])

    return invoke


def test_a_tenant_is_created_once_and_can_be_changed(database: Database):
    with database.write() as session:
        tenants.change_tenant(session, "acme", {"weight": 2.0, "max_queued": 10})
        tenants.change_tenant(session, "acme", {"max_queued": None})
    with database.read() as session:
        [acme] = [tenant for tenant in tenants.list_tenants(session) if tenant.name == "acme"]
        assert (acme.weight, acme.max_queued, acme.cost_per_day) == (2.0, None, None)


def test_the_command_sets_clears_and_lists_limits(run: Any):
    assert run("set", "acme", "--weight", "4", "--max-queued", "10", "--keep-images-days", "0.5").exit_code == 0
    assert run("set", "acme", "--max-queued", "none").exit_code == 0
    row = next(line for line in run().output.splitlines() if "acme" in line)
    assert row.split() == ["acme", "4", "-", "-", "-", "-", "0.5", "-", "-", "no"]


@pytest.mark.parametrize(
    "option", [("--weight", "0"), ("--max-queued", "0"), ("--max-running", "1.5"), ("--keep-jobs-days", "-1")]
)
def test_an_invalid_value_is_a_usage_error_and_changes_nothing(run: Any, option: Any):
    result = run("set", "acme", *option)
    assert result.exit_code == 2
    assert option[0] in result.output
    assert "acme" not in run().output
