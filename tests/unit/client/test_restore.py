"""Restore, and what happens to an interrupted, truncated, newer or malicious backup."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
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
from tests.processes import eventually

from limner_client.operations.manifest import MANIFEST, UNFINISHED
from limner_shared.settings import Settings
from limner_shared.storage.blobs import input_key, picture_key

__all__ = ["another", "installed", "tools"]


def test_an_interrupted_backup_is_refused_by_restore_and_continued_by_backup(
    installed: Installation, another: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "backup"
    run(installed.settings, "backup", str(folder))
    (folder / MANIFEST).unlink()
    (folder / UNFINISHED).touch()
    kept = folder / "blobs" / picture_key(installed.digests[0])
    inode = kept.stat().st_ino
    (folder / "blobs" / picture_key(installed.digests[1])).write_bytes(b"half")
    (folder / "blobs" / input_key("ab" * 32)).write_bytes(b"of an earlier snapshot")
    assert "unfinished" in run(another, "restore", str(folder), code=2).output
    run(installed.settings, "backup", str(folder))
    assert kept.stat().st_ino == inode
    assert not (folder / "blobs" / input_key("ab" * 32)).exists()
    run(another, "restore", str(folder))
    assert shown_pictures(another) == sorted(PICTURES)


@pytest.mark.parametrize(
    ("database_url", "victim"),
    [
        *[("sqlite", each) for each in ("dump", "objects", "manifest", "picture")],
        ("postgresql", "dump"),  # the other files do not depend on the database
        *[pytest.param("postgresql", each, marks=pytest.mark.long) for each in ("objects", "manifest", "picture")],
    ],
    indirect=["database_url"],
)
def test_a_truncated_backup_is_refused_and_leaves_no_database(
    installed: Installation, another: Settings, tmp_path: Path, victim: str
) -> None:
    folder = tmp_path / "backup"
    run(installed.settings, "backup", str(folder))
    manifest = manifest_of(folder)
    name = {"dump": manifest.dump.name, "objects": manifest.objects.name, "manifest": MANIFEST}
    file = folder / name.get(victim, f"blobs/{picture_key(installed.digests[0])}")
    os.truncate(file, file.stat().st_size - 3)
    refused = run(another, "restore", str(folder), code=1 if victim == "picture" else 2)
    assert "damaged" in refused.output
    assert not (another.data_dir / "limner.db").exists()
    shutil.copyfile(installed.picture(0), folder / "blobs" / picture_key(installed.digests[0]))
    if victim == "picture":  # with the picture back, the same restore continues
        run(another, "restore", str(folder))


def test_a_backup_cannot_write_outside_the_picture_store(
    installed: Installation, another: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "backup"
    run(installed.settings, "backup", str(folder))
    listed = folder / "objects.jsonl"
    lines = [json.loads(line) for line in listed.read_text().splitlines()]
    lines[0]["key"] = "files/../../escaped"
    listed.write_text("".join(json.dumps(line) + "\n" for line in lines))
    from limner_client.operations.manifest import sum_of  # noqa: PLC0415

    changed = manifest_of(folder).model_copy(update={"objects": sum_of(listed)})
    (folder / MANIFEST).write_text(changed.model_dump_json())
    assert "outside the picture store" in run(another, "restore", str(folder), code=2).output
    assert not list(tmp_path.rglob("escaped"))


def test_a_newer_backup_is_refused_and_an_older_one_is_upgraded(
    installed: Installation, another: Settings, tmp_path: Path
) -> None:
    from limner_shared.db import schema  # noqa: PLC0415

    folder = tmp_path / "backup"
    run(installed.settings, "backup", str(folder))
    newer = manifest_of(folder).model_copy(update={"schema_revision": "9999", "serves_from": "9998"})
    whole = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(newer.model_dump_json())
    assert "does not know" in run(another, "restore", str(folder), code=2).output
    (folder / MANIFEST).write_text(whole)
    run(another, "restore", str(folder))
    known = schema.known_revisions(another.resolved_database_url)
    schema.downgrade(another.resolved_database_url, known[1])
    assert "limner db upgrade" in run(another, "backup", str(tmp_path / "old"), code=2).output


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_backup_of_an_older_schema_that_lacks_rows_is_refused(
    installed: Installation, another: Settings, tmp_path: Path
) -> None:
    from limner_client.operations.manifest import sum_of  # noqa: PLC0415
    from limner_shared.db import schema  # noqa: PLC0415

    folder = tmp_path / "backup"
    run(installed.settings, "backup", str(folder))
    manifest = manifest_of(folder)
    dump = folder / manifest.dump.name
    older = schema.known_revisions(installed.settings.resolved_database_url)[1]
    schema.downgrade(f"sqlite:///{dump}", older)
    with sqlite3.connect(dump) as database:
        there = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        database.execute("DELETE FROM events")
        database.commit()
        database.execute("PRAGMA journal_mode = DELETE")  # all in the one file
    rows = {name: count for name, count in manifest.rows.items() if name in there}
    changed = manifest.model_copy(update={"dump": sum_of(dump), "schema_revision": older, "rows": rows})
    (folder / MANIFEST).write_text(changed.model_dump_json())
    assert "other rows than the backup: events" in run(another, "restore", str(folder), code=2).output
    assert not (another.data_dir / "limner.db").exists()


def test_a_restore_over_anything_is_refused(installed: Installation, another: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    run(installed.settings, "backup", str(folder))
    assert "not empty" in run(installed.settings, "restore", str(folder), code=2).output
    run(another, "restore", str(folder))
    assert run(another, "restore", str(folder), code=2).output
    assert shown_pictures(installed.settings) == sorted(PICTURES)
    wrong = Settings(data_dir=tmp_path / "third")
    if installed.settings.database_url:
        assert "postgresql" in run(wrong, "restore", str(folder), code=2).output
    else:
        (tmp_path / "third").mkdir()
        (tmp_path / "third" / "letter.txt").write_text("dear")
        assert "letter.txt" in run(wrong, "restore", str(folder), code=2).output
        (tmp_path / "third" / "letter.txt").rename(log := tmp_path / "third" / "limner.db-wal")
        assert "limner.db-wal" in run(wrong, "restore", str(folder), code=2).output
        log.unlink()
        for left in ("limner.db.reserve", "limner.db.migration-lock"):
            (tmp_path / "third" / left).touch()
        run(wrong, "restore", str(folder))


def kill_at(process: subprocess.Popen[str], happened: Callable[[], object]) -> None:
    eventually(lambda: happened() or process.poll() is not None, 30, every=0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)


def test_killed_backups_and_restores_are_continued(installed: Installation, another: Settings, tmp_path: Path) -> None:
    if installed.settings.database_url:
        pytest.skip("the steps around the database are the same ones")
    folder = tmp_path / "backup"
    kill_at(limner(installed.settings, "backup", str(folder)), (folder / "wanted.jsonl").exists)
    run(installed.settings, "backup", str(folder))
    stored = another.data_dir / "blobs"
    restore = limner(another, "restore", str(folder))
    kill_at(restore, lambda: stored.exists() and any(stored.iterdir()))
    if restore.returncode:
        run(another, "restore", str(folder))
    assert shown_pictures(another) == sorted(PICTURES)
    assert run(another, "check").exit_code == 0
    assert not (stored / "restoring").exists()
