"""Backup and check, with real databases and folders."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import make_url, text
from tests.installations import (
    PICTURES,
    Installation,
    another,
    installed,
    limner,
    manifest_of,
    run,
    shown_pictures,
    tools,
)

from limner_client.operations.backup import back_up
from limner_client.operations.consistency import Check
from limner_client.operations.manifest import BLOBS, MANIFEST
from limner_shared.db.engine import Database
from limner_shared.errors import StorageFailed
from limner_shared.settings import Settings
from limner_shared.storage.blobs import picture_key
from limner_shared.storage.object_store import Store

__all__ = ["another", "installed", "tools"]


def test_a_restored_backup_has_every_row_and_every_byte(
    installed: Installation, another: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "backup"
    run(installed.settings, "backup", str(folder))
    assert folder.stat().st_mode & 0o777 == 0o700  # it holds prompts
    run(another, "restore", str(folder))
    assert shown_pictures(another) == sorted(PICTURES)
    report = json.loads(run(another, "check", "--json").stdout)
    assert report["consistent"]
    assert report["objects"] == {"picture": 3, "input": 1, "file": 2}
    assert report["problems"] == {"missing": 0, "damaged": 0, "unreadable": 0, "unreferenced": 0}
    assert manifest_of(folder).rows["jobs"] == 3


def test_the_database_password_is_in_no_argument(
    installed: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not installed.settings.database_url:
        pytest.skip("SQLite has no password")
    called: list[list[str]] = []
    start: Any = cast("Any", subprocess).run

    def record(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        called.append(command)
        return start(command, **options)

    monkeypatch.setattr(subprocess, "run", record)
    marked = "not-to-be-seen"
    url = make_url(installed.settings.database_url).set(password=marked).render_as_string(hide_password=False)
    run(installed.settings.model_copy(update={"database_url": url}), "backup", str(tmp_path / "backup"))
    assert called
    assert not [word for command in called for word in command if marked in word]


@pytest.mark.parametrize("by", ["variables", "service"])
def test_what_the_url_of_the_database_leaves_to_libpq_is_known_to_the_dump_too(
    installed: Installation, another: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    if not installed.settings.database_url:
        pytest.skip("SQLite has no server")
    url = make_url(installed.settings.database_url)
    server = {"host": url.host or url.query.get("host"), "port": url.port, "user": url.username}
    known = {name: str(value) for name, value in (server | {"password": url.password or "unused"}).items() if value}
    if by == "service":
        services = tmp_path / "pg_service.conf"
        services.write_text("\n".join(["[pictures]", *(f"{name}={value}" for name, value in known.items()), ""]))
        known = {"servicefile": str(services), "service": "pictures"}
    for name, value in known.items():
        monkeypatch.setenv(f"PG{name.upper()}", value)

    def bare(settings: Settings) -> Settings:
        name = make_url(settings.database_url).database
        return settings.model_copy(update={"database_url": f"postgresql:///{name}"})

    folder = tmp_path / "backup"
    run(bare(installed.settings), "backup", str(folder))
    run(bare(another), "restore", str(folder))
    assert shown_pictures(another) == sorted(PICTURES)


def test_a_missing_and_a_damaged_picture_are_reported_and_the_rest_is_saved(
    installed: Installation, tmp_path: Path
) -> None:
    installed.picture(0).unlink()
    installed.picture(1).write_bytes(b"something else")
    folder = tmp_path / "backup"
    run(installed.settings, "backup", str(folder), code=1)
    assert {(each.key, each.reason) for each in manifest_of(folder).lost} == {
        (picture_key(installed.digests[0]), "missing"),
        (picture_key(installed.digests[1]), "damaged"),
    }
    assert manifest_of(folder).object_count == 4
    report = json.loads(run(installed.settings, "check", "--json", code=1).stdout)
    assert report["problems"] == {"missing": 1, "damaged": 1, "unreadable": 0, "unreferenced": 0}


def test_an_object_that_the_store_never_returns_is_named_and_the_rest_is_saved(
    installed: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archived, get = picture_key(installed.digests[0]), Store.get

    def deny(store: Store, key: str) -> bytes | None:
        if key == archived and store.folder != tmp_path / "backup" / BLOBS:
            raise StorageFailed
        return get(store, key)

    monkeypatch.setattr(Store, "get", deny)
    folder = tmp_path / "backup"
    run(installed.settings, "backup", str(folder), code=1)
    assert [(each.key, each.reason) for each in manifest_of(folder).lost] == [(archived, "unreadable")]
    assert manifest_of(folder).object_count == 5
    report = json.loads(run(installed.settings, "check", "--json", code=1).stdout)
    assert (report["problems"]["unreadable"], report["consistent"]) == (1, False)


def test_a_picture_that_was_deleted_while_the_backup_was_made_is_reported_as_deleted(
    installed: Installation, tmp_path: Path
) -> None:
    def delete(_message: str) -> None:
        """Act between the database's snapshot and the copies."""
        database = Database(installed.settings.resolved_database_url)
        with database.write() as session:
            session.execute(text("DELETE FROM images WHERE sha256 = :digest"), {"digest": installed.digests[2]})
        database.dispose()
        installed.picture(2).unlink(missing_ok=True)

    manifest = back_up(installed.settings, tmp_path / "backup", delete)
    assert [(each.key, each.reason) for each in manifest.lost] == [(picture_key(installed.digests[2]), "deleted")]
    assert manifest.rows["images"] == 3


def test_what_is_stored_while_a_backup_is_made_does_not_disturb_it(installed: Installation, tmp_path: Path) -> None:
    def store(_message: str) -> None:
        installed.blobs.put(b"a new picture")

    assert back_up(installed.settings, tmp_path / "backup", store).lost == []


def test_a_picture_that_is_set_aside_is_saved(installed: Installation, tmp_path: Path) -> None:
    assert installed.blobs.set_aside(installed.digests[0], -1)
    run(installed.settings, "backup", str(tmp_path / "backup"))


def test_a_complete_backup_and_a_folder_with_other_files_are_not_written_to(
    installed: Installation, tmp_path: Path
) -> None:
    folder = tmp_path / "backup"
    run(installed.settings, "backup", str(folder))
    assert "complete backup" in run(installed.settings, "backup", str(folder), code=2).output
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    assert "not empty" in run(installed.settings, "backup", str(tmp_path / "mine"), code=2).output


def test_objects_without_a_row_are_reported_once_they_are_old(installed: Installation) -> None:
    installed.blobs.put(b"a picture without a row")
    installed.blobs.put_file_part("file-2", 0, b"no row")
    report = Check(installed.settings, print).run()
    assert report.young == 2
    assert report.problems["unreferenced"] == 0
    old = Check(installed.settings, print, young_seconds=-1).run()
    assert old.problems["unreferenced"] == 2
    assert old.consistent


def test_a_full_disk_ends_a_backup_with_one_line_and_it_continues_later(
    installed: Installation, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if installed.settings.database_url:
        pytest.skip("the steps around the database are the same ones")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    request.addfinalizer(lambda: subprocess.run(["umount", str(disk)], check=True))
    folder = disk / "backup"
    full = limner(installed.settings, "backup", str(folder))
    output, _ = full.communicate(timeout=60)
    assert full.returncode == 1, output
    assert "full: free some space" in output
    assert "Traceback" not in output
    assert not (folder / MANIFEST).exists()
    subprocess.run(["mount", "-o", "remount,size=9m", str(disk)], check=True)
    run(installed.settings, "backup", str(folder))
    with closing(sqlite3.connect(folder / "database.sqlite")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
