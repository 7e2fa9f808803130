"""Cells: their file, the placement of tenants, and the names in keys and links."""

from __future__ import annotations

import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from limner_client.cli.main import cli
from limner_client.operations.cells import Cell, Cells, place
from limner_client.operations.front_door import configuration
from limner_shared.db.accounts import keys
from limner_shared.db.engine import Database
from limner_shared.db.schema import upgrade
from limner_shared.db.signed_links import SignedLinks
from limner_shared.settings import Settings

TENANTS = [f"tenant-{number}" for number in range(3000)]
FILE = """
listen = ["127.0.0.1:8080"]
[cells.a]
servers = ["10.0.0.1:8700"]
[cells.b]
servers = ["10.0.0.2:8700", "[fd00::2]:8700"]
"""


def described(names: str, **changes: object) -> Cells:
    cells = {name: Cell(servers=(f"10.0.0.{number}:8700",)) for number, name in enumerate(names)}
    return Cells.model_validate({"listen": ("127.0.0.1:8080",), "cells": cells} | changes)


def test_every_pair_of_cells_is_the_shard_of_an_equal_part_of_the_tenants() -> None:
    cells = described("abcdef")
    shards = Counter(frozenset(place(tenant, cells)) for tenant in TENANTS)
    assert set(shards) == {frozenset(pair) for pair in combinations("abcdef", 2)}
    assert all(0.7 < count / (len(TENANTS) / 15) < 1.3 for count in shards.values())


def test_a_new_cell_moves_tenants_only_to_itself_and_a_closed_one_only_from_itself() -> None:
    before, after = described("abcd"), described("abcde")
    closed = described("abcd", cells=dict(before.cells) | {"a": Cell(servers=("10.0.0.1:1",), takes_tenants=False)})
    for tenant in TENANTS[:500]:
        was, grown, shrunk = (set(place(tenant, cells)) for cells in (before, after, closed))
        assert grown - was <= {"e"}
        assert "a" not in shrunk
        assert was - {"a"} <= shrunk


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ('listen = ["127.0.0.1:8080"]\n[cells.A]\nservers = ["h:1"]', "cells.A"),
        ('listen = ["127.0.0.1:8080"]\n[cells.a]\nservers = []', "cells.a.servers"),
        ('listen = ["a:1 ssl crt /x"]\n[cells.a]\nservers = ["h:1"]', "listen.0"),
        ('listen = ["a:1"]\n[cells.a]\nservers = ["h:1\\nglobal"]', "cells.a.servers.0"),
        ('listen = ["a:1"]\n[cells.a]\nservers = ["h:1"]\n[cells.b]\nservers = ["h:1"]', "listed twice"),
        ('listen = ["a:1"]\ndefault_cell = "z"\n[cells.a]\nservers = ["h:1"]', "no cell 'z'"),
        ('listen = ["a:1"]\ncertificate = "/x\\ny"\n[cells.a]\nservers = ["h:1"]', "certificate"),
        ('listen = ["a:1"]\ncolour = 1\n[cells.a]\nservers = ["h:1"]', "colour"),
        ("listen = [", "cells.toml"),
    ],
)
def test_a_mistake_in_the_file_is_a_usage_error_that_names_it(tmp_path: Path, change: str, said: str) -> None:
    file = tmp_path / "cells.toml"
    file.write_text(change)
    result = CliRunner().invoke(cli, ["cells", "config", str(file)])
    assert (result.exit_code, said in result.output) == (2, True), result.output


def test_the_commands_print_the_configuration_and_a_tenants_cells(tmp_path: Path) -> None:
    file = tmp_path / "cells.toml"
    file.write_text(FILE)
    shown = CliRunner().invoke(cli, ["cells", "config", str(file)]).output
    assert "server web2 [fd00::2]:8700" in shown
    assert re.search(r"be_conn gt 6666", shown)
    assert sorted(CliRunner().invoke(cli, ["cells", "place", str(file), "acme"]).output.split()) == ["a", "b"]
    assert CliRunner().invoke(cli, ["cells", "config", str(tmp_path / "none")]).exit_code == 2


def test_without_a_default_cell_no_cell_gets_keys_that_name_none() -> None:
    unnamed = "beg lmn_ }"
    assert unnamed not in configuration(described("ab"))
    assert unnamed in configuration(described("ab", default_cell="b"))
    assert "ssl crt /etc/limner.pem" in configuration(described("ab", certificate="/etc/limner.pem"))


def test_a_cells_keys_and_links_begin_with_its_name_and_older_ones_go_on_working(database: Database) -> None:
    with database.write() as session:
        old, new = keys.create(session, "acme", "old"), keys.create(session, "acme", "new", cell="eu1")
    assert new.startswith("lmn_eu1-")
    with database.write() as session:
        assert keys.authenticate(session, old).tenant_id == keys.authenticate(session, new).tenant_id
        rotated = keys.rotate(session, keys.authenticate(session, old).key_id, cell="eu1").new
        assert keys.authenticate(session, rotated.key).key_id == rotated.id
        assert rotated.id.startswith("eu1-")
    before, cell = (SignedLinks(Settings(signing_key="secret", cell=name), database) for name in ("", "eu1"))
    (plain, _), (named, _) = before.make("img_1", 60), cell.make("img_1", 60)
    assert named.startswith("/images/eu1~")
    for path in (plain, named):
        assert cell.read(path.rpartition("/")[2])[0] == "img_1"


def test_the_command_makes_keys_of_the_cell_in_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_DATA_DIR", str(tmp_path))
    upgrade(f"sqlite:///{tmp_path / 'limner.db'}")
    plain = CliRunner().invoke(cli, ["keys", "create", "acme"]).output.strip()
    monkeypatch.setenv("LIMNER_CELL", "b2")
    assert CliRunner().invoke(cli, ["keys", "create", "acme"]).output.startswith("lmn_b2-")
    rotated = CliRunner().invoke(cli, ["keys", "rotate", plain.split("_")[1]]).stdout
    assert rotated.startswith("lmn_b2-")


@pytest.mark.parametrize("name", ["A", "1a", "a-b", "a_b", "a~", "a\n", "a" * 13])
def test_a_cells_name_that_a_key_could_not_hold_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        Settings(cell=name)
