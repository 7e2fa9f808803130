"""`limner blobs copy`: from one picture store to another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from limner_client.cli.main import cli
from limner_shared.errors import StorageFailed
from limner_shared.storage.blobs import Blobs, picture_key
from limner_shared.storage.object_store import Store


@pytest.fixture
def source(tmp_path: Path) -> Blobs:
    blobs = Blobs((tmp_path / "source").as_uri())
    blobs.put_all([b"a red apple", b"a green pear"])
    blobs.put_input(b"an input")
    blobs.put_file_part("file-1", 0, b"part")
    blobs.store_checkpoint("job-0", b"of a running picture")
    return blobs


def copy(folder: Path, *options: str, code: int = 0) -> dict[str, Any]:
    words = ["blobs", "copy", str(folder / "source"), (folder / "target").as_uri(), *options]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_a_copy_has_every_object_and_is_repeated_without_work(source: Blobs, tmp_path: Path) -> None:
    first = copy(tmp_path, "--verify")
    assert (first["copied"], first["verified"], first["damaged"]) == (4, 4, [])
    target = Blobs((tmp_path / "target").as_uri())
    assert target.get(source.put(b"a red apple")) == b"a red apple"
    assert target.get_file_part("file-1", 0) == b"part"
    source.put(b"a blue plum")
    again = copy(tmp_path)
    assert (again["copied"], again["skipped"]) == (1, 4)


def test_damage_of_the_source_is_not_copied_and_damage_of_the_target_is_repaired(source: Blobs, tmp_path: Path) -> None:
    copy(tmp_path)
    apple, pear = picture_key(source.put(b"a red apple")), picture_key(source.put(b"a green pear"))
    (tmp_path / "target" / apple).write_bytes(b"A RED APPLE")
    (tmp_path / "source" / pear).write_bytes(b"a grown pear")
    done = copy(tmp_path, "--verify", code=1)
    assert done["damaged"] == [pear]
    assert (tmp_path / "target" / apple).read_bytes() == b"a red apple"
    assert (tmp_path / "target" / pear).read_bytes() == b"a green pear"


def test_an_object_that_the_store_never_returns_is_named_and_the_others_are_copied(
    source: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apple, get = picture_key(source.put(b"a red apple")), Store.get

    def deny(store: Store, key: str) -> bytes | None:
        if key == apple:
            raise StorageFailed
        return get(store, key)

    monkeypatch.setattr(Store, "get", deny)
    done = copy(tmp_path, code=1)
    assert (done["unreadable"], done["copied"]) == ([apple], 3)


def test_a_store_is_not_copied_onto_itself_and_a_bad_url_is_explained(source: Blobs, tmp_path: Path) -> None:
    words = ["blobs", "copy", str(tmp_path / "source")]
    assert "same folder" in CliRunner().invoke(cli, [*words, str(tmp_path / "source")]).output
    assert "absolute path" in CliRunner().invoke(cli, [*words, "relative/folder"]).output
