"""Tenants' weights, limits and retention, in the database and on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from limner_client.cli.main import cli
from limner_shared.db import ledger
from limner_shared.db.accounts import tenants
from limner_shared.db.engine import Database
from limner_shared.db.schema import upgrade


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs `limner tenants …` with its own database."""
    monkeypatch.setenv("LIMNER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    upgrade(f"sqlite:///{tmp_path / 'limner.db'}")

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(cli, ["tenants", *arguments])

    return invoke


def test_a_tenant_is_created_once_and_can_be_changed(database: Database) -> None:
    with database.write() as session:
        tenants.change_tenant(session, "acme", {"weight": 2.0, "max_queued": 10})
        tenants.change_tenant(session, "acme", {"max_queued": None})
    with database.read() as session:
        [acme] = [tenant for tenant in tenants.list_tenants(session) if tenant.name == "acme"]
        assert (acme.weight, acme.max_queued, acme.cost_per_day) == (2.0, None, None)


def test_the_operators_own_tenant_has_its_id_even_if_a_command_makes_it_first(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    upgrade(url)
    opened = Database(url)
    with opened.write() as session:
        assert tenants.find_or_make(session, "local") == ledger.LOCAL_TENANT
        ledger.ensure_tenant(session, ledger.LOCAL_TENANT, "local")  # as the web server does at its start
    opened.dispose()


def test_the_command_sets_clears_and_lists_limits(run: Callable[..., Result]) -> None:
    assert run("set", "acme", "--weight", "4", "--max-queued", "10", "--keep-images-days", "0.5").exit_code == 0
    assert run("set", "acme", "--max-queued", "none").exit_code == 0
    row = next(line for line in run().output.splitlines() if "acme" in line)
    assert row.split() == ["acme", "4", "-", "-", "-", "-", "0.5", "-", "-", "no", "-", "-", "-"]


@pytest.mark.parametrize(
    "option", [("--weight", "0"), ("--max-queued", "0"), ("--max-running", "1.5"), ("--keep-jobs-days", "-1")]
)
def test_an_invalid_value_is_a_usage_error_and_changes_nothing(
    run: Callable[..., Result], option: tuple[str, str]
) -> None:
    result = run("set", "acme", *option)
    assert result.exit_code == 2
    assert option[0] in result.output
    assert "acme" not in run().output


def test_the_command_sets_what_a_tenant_has_of_its_own(run: Callable[..., Result], tmp_path: Path) -> None:
    terms = tmp_path / "terms.txt"
    terms.write_text("# brands\nacme corp\n\nexample*\n", "utf-8")
    options = ("--safety", "block", "--blocked-terms", str(terms), "--sign-pictures", "yes")
    done = run("set", "acme", *options)
    assert done.exit_code == 0, done.output
    assert "acme corp" not in done.output
    row = next(line for line in run().output.splitlines() if "acme" in line)
    assert row.split()[-4:] == ["block", "2", "terms", "yes"]
    assert run("set", "acme", "--safety", "none", "--blocked-terms", "none", "--sign-pictures", "none").exit_code == 0
    row = next(line for line in run().output.splitlines() if "acme" in line)
    assert row.split()[-3:] == ["-", "-", "-"]


@pytest.mark.parametrize("content", ["*", "a*b", "+", "x" * 70_000])
def test_terms_that_can_match_nothing_or_are_too_many_are_refused(
    run: Callable[..., Result], tmp_path: Path, content: str
) -> None:
    (tmp_path / "terms.txt").write_text(content, "utf-8")
    refused = run("set", "acme", "--blocked-terms", str(tmp_path / "terms.txt"))
    assert refused.exit_code == 2
    assert "--blocked-terms" in refused.output
    assert run("set", "acme", "--blocked-terms", str(tmp_path / "none")).exit_code == 2
