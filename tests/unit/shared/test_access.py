"""Scopes and expiry of keys, and their commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from limner_client.cli.main import cli
from limner_shared.db.schema import upgrade
from limner_shared.domain.access import DEFAULT_SCOPES, Expiry, Scope, parse_expiry, read_scopes, store_scopes
from limner_shared.errors import InvalidRequest


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs `limner …` with its own database."""
    monkeypatch.setenv("LIMNER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "300")
    upgrade(f"sqlite:///{tmp_path / 'limner.db'}")

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(cli, arguments)

    return invoke


@pytest.mark.parametrize(
    ("text", "expiry"),
    [
        ("90d", Expiry(90 * 86_400, is_relative=True)),
        ("12h", Expiry(43_200, is_relative=True)),
        ("0s", Expiry(0, is_relative=True)),
        ("2027-01-31", Expiry(1_801_353_600, is_relative=False)),
        ("2027-01-31T01:00+01:00", Expiry(1_801_353_600, is_relative=False)),
    ],
)
def test_an_expiry_is_a_duration_or_a_date(text: str, expiry: Any):
    assert parse_expiry(text) == expiry


@pytest.mark.parametrize("text", ["", "soon", "-1d", "1.5d", "5", "9" * 40 + "d", "2027-13-01", "nan", "٣d", "\0"])
def test_any_other_expiry_is_refused(text: str):
    with pytest.raises(InvalidRequest):
        parse_expiry(text)


def test_scopes_are_stored_as_words_and_unknown_ones_grant_nothing():
    assert read_scopes(store_scopes(Scope)) == set(Scope)
    assert store_scopes(DEFAULT_SCOPES) == "read submit"
    assert read_scopes("read later-scope") == {Scope.READ}
    assert read_scopes("") == set()


def test_the_commands_create_list_rotate_and_revoke_keys(run: Any):
    key = run("keys", "create", "acme", "--label", "shop", "--scope", "admin", "--expires", "2030-01-31").stdout.strip()
    key_id = key.split("_")[1]
    [_, row] = run("keys", "list").stdout.splitlines()
    assert row.split()[:4] == [key_id, "acme", "shop", "admin"]
    assert "2030-01-31 00:00" in row
    rotated = run("keys", "rotate", key_id, "--overlap-seconds", "0", "--expires", "1d")
    assert rotated.stdout.startswith("lmn_")
    assert f"{key_id} expires at" in rotated.stderr
    assert run("keys", "rotate", key_id).exit_code == 1
    assert run("keys", "revoke", rotated.stdout.split("_")[1]).exit_code == 0
    lines = run("audit", "--tenant", "acme").stdout.splitlines()
    assert [line.split()[4] for line in lines[1:]] == ["key_revoked", "key_rotated", "key_created"]
    assert key.split("_")[2] not in run("audit").output
    assert len(run("audit", "--tenant", "other").stdout.splitlines()) == 1


@pytest.mark.parametrize(
    "options", [("--scope", "root"), ("--expires", "soon"), ("--expires", "0d"), ("--expires", "2001-01-01")]
)
def test_an_invalid_scope_or_expiry_is_a_usage_error_and_creates_nothing(run: Any, options: Any):
    assert run("keys", "create", "acme", *options).exit_code == 2
    assert "acme" not in run("keys", "list").output
    assert "acme" not in run("tenants").output
