"""The guide for large installations: PostgreSQL is recovered to a time, from a base backup and its archived log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from limner_shared.db.schema import upgrade
from limner_shared.db.tables import Image, Job
from limner_shared.domain.jobs import JobState
from limner_shared.storage.blobs import picture_key
from tests.installations import run
from tests.processes import Service, eventually
from tests.stores import programs
from tests.stores.postgresql import EMBEDDED, USER, Postgres

pytestmark = pytest.mark.long


@pytest.fixture
def archive(server_folder: Path) -> Path:
    """The folder of the archived log."""
    folder = server_folder / "archive"
    folder.mkdir()
    programs.give_to_server(folder)
    return folder


@pytest.fixture
def primary(server_folder: Path, archive: Path) -> Iterator[Postgres]:
    """A PostgreSQL that archives its log, with the schema."""
    command = f"archive_command = 'test ! -f {archive}/%f && cp %p {archive}/%f'"
    server = Postgres(server_folder / "archiving", EMBEDDED, "archive_mode = on", command)
    server.create()
    upgrade(server.url)
    yield server
    server.kill()


def base_backup(primary: Postgres, folder: Path) -> Postgres:
    backup = Postgres(folder, primary.binaries)
    backup.run("pg_basebackup", "-d", f"host=127.0.0.1 port={primary.port} user={USER}", "--wal-method=stream")
    return backup


def recover(backup: Postgres, archive: Path, moment: object) -> None:
    backup.config += [
        f"restore_command = 'cp {archive}/%f %p'",
        f"recovery_target_time = '{moment}'",
        "recovery_target_action = 'promote'",
        "archive_mode = off",
    ]
    backup.configure()
    signal = backup.data / "recovery.signal"
    signal.touch()
    programs.give_to_server(signal)
    backup.start()
    eventually(lambda: backup.execute("SELECT pg_is_in_recovery()") is False, 30)


def lose(server: Postgres, archive: Path) -> None:
    """Kill the server after the last part of its log has reached the archive."""
    last = server.execute("SELECT pg_walfile_name(pg_switch_wal())")
    eventually((archive / str(last)).exists, 30)
    server.kill()


def test_a_database_is_recovered_to_a_time_and_check_names_what_the_bucket_lost_since(
    primary: Postgres, archive: Path, server_folder: Path, start_service: Callable[..., Service]
) -> None:
    service = start_service(database_url=primary.url)
    service.start("dispatcher")
    [worker] = service.start_workers(1, "--model", "null")
    before = service.submit(3)
    service.wait(before)
    backup = base_backup(primary, server_folder / "base")
    since = service.submit(3)
    service.wait(since)
    worker.terminate()
    assert worker.wait(60) == 0
    waiting = service.submit(2)
    moment = primary.execute("SELECT clock_timestamp()")
    later = service.submit(2)
    service.start_workers(1, "--model", "null")
    service.wait(waiting + later)
    service.stop()
    service.processes.clear()
    service.database.dispose()
    lose(primary, archive)

    recover(backup, archive, moment)
    restored = start_service(database_url=backup.url)
    try:
        with restored.database.read() as session:
            assert set(session.scalars(select(Job.id))) == {*before, *since, *waiting}
            digest = session.scalars(select(Image.sha256).where(Image.job_id == before[0])).one()
        picture = Path(restored.settings.resolved_blob_url.removeprefix("file://")) / picture_key(digest)
        lost = picture.rename(picture.with_suffix(".deleted"))
        assert picture_key(digest) in run(restored.settings, "check", code=1).output
        lost.rename(picture)  # as a bucket's versions do
        run(restored.settings, "check")
        restored.start("dispatcher")
        restored.start_workers(1, "--model", "null")
        assert {job.state for job in restored.wait(before + since + waiting)} == {JobState.SUCCEEDED}
        run(restored.settings, "check")
    finally:
        restored.stop()
        restored.database.dispose()
        backup.kill()
