"""`limner doctor` names the packages that an extra lacks."""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from limner_client.local import package_checks
from limner_client.local.findings import State

EXTRAS = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def test_every_extra_is_checked_but_those_that_only_collect_others() -> None:
    checked = {check.name.removeprefix("extra ") for check in package_checks.package_checks() if "extra" in check.name}
    assert checked == EXTRAS.keys() - package_checks.COLLECTIONS


def test_an_extra_without_one_of_its_packages_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_mcp(name: str) -> str:
        if name == "mcp":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(package_checks, "version", without_mcp)
    [check] = [check for check in package_checks.package_checks() if check.name == "extra mcp"]
    assert (check.state, check.found) == (State.WARN, "missing: mcp")
    assert "limner[mcp]" in check.advice
