"""PostgreSQL whose disk is full: running jobs wait, new ones are refused, and all ends well once there is space."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from limner_shared.db.schema import upgrade
from limner_shared.db.tables import Image
from limner_shared.domain.jobs import JobState
from tests.distributed.full_database import LONG, outlasts, watched
from tests.distributed.full_disk_cleaning import cleaned_installation
from tests.ended_jobs import count
from tests.processes import Service, eventually
from tests.small_disks import fill, needs_root, small_disk
from tests.stores import programs
from tests.stores.postgresql import EMBEDDED, Postgres

pytestmark = [pytest.mark.long, needs_root, pytest.mark.timeout(400)]
MEGABYTES = 40
SMALL_LOG = ("wal_keep_size = 0", "min_wal_size = 2MB", "max_wal_size = 16MB", "checkpoint_timeout = 30s")


@pytest.fixture
def disk(server_folder: Path, tmp_path: Path) -> Iterator[Path]:
    with small_disk(server_folder / tmp_path.name, MEGABYTES) as folder:
        yield folder


@pytest.fixture
def postgres(server_folder: Path, disk: Path) -> Iterator[Postgres]:
    """A PostgreSQL with the tables on the small disk."""
    server = Postgres(server_folder / f"full-{disk.name}", EMBEDDED)
    place = disk / "tables"
    place.mkdir(mode=0o700)
    programs.give_to_server(place)
    server.create()
    try:
        server.execute(f"CREATE TABLESPACE small LOCATION '{place}'", database="postgres")
        server.execute("ALTER DATABASE limner SET TABLESPACE small", database="postgres")
        yield server
    finally:
        server.kill()


def test_jobs_outlast_a_full_disk_of_postgresql(
    postgres: Postgres, disk: Path, start_service: Callable[..., Service]
) -> None:
    upgrade(postgres.url)
    service = start_service(database_url=postgres.url, web_workers=1)
    service.start("dispatcher")
    service.start_web()
    service.start_workers()
    ballast = disk / "ballast"
    with watched(service.settings.port) as seen:
        outlasts(seen, lambda: fill(ballast), free=ballast.unlink)
    assert {job.losses for job in service.jobs(seen.accepted)} == {0}, service.logs()


def test_cleaning_continues_with_a_little_space_and_makes_enough_for_new_jobs(
    postgres: Postgres, disk: Path, tmp_path: Path, redis_url: str
) -> None:
    """On a disk that is full to the last byte PostgreSQL cannot even write a deletion: keep a file to delete."""
    with cleaned_installation(postgres.url, tmp_path / "blobs", redis_url) as on:
        on.draw()
        on.keep_days(keep_jobs_days=7)
        (disk / "kept").write_bytes(bytes(2 << 20))
        fill(disk / "ballast")
        eventually(lambda: on.is_full)
        on.clean()
        assert count(on.database, Image) > 0
        (disk / "kept").unlink()
        for _ in range(5):
            on.clean()
        assert count(on.database, Image) == 0
        postgres.execute("VACUUM")
        assert not on.is_full, "deleted rows leave space"


# --- its log ---


class Supervised:
    """A PostgreSQL whose write-ahead log is on the small disk, under a process manager that starts it again."""

    def __init__(self, server: Postgres) -> None:
        self.server = server
        self.ends = 0
        self._stopping = threading.Event()
        self._manager = threading.Thread(target=self._run, daemon=True)
        self._manager.start()

    def stop(self) -> None:
        self._stopping.set()
        self._manager.join()
        self.server.kill()

    def _run(self) -> None:
        while not self._stopping.wait(0.2):
            running = self.server.server
            if running is not None and running.process.poll() is not None:
                self.ends += 1
                self.server.launch()


@pytest.fixture
def logging_postgres(server_folder: Path, disk: Path) -> Iterator[Supervised]:
    server = Postgres(server_folder / f"log-{disk.name}", EMBEDDED, *SMALL_LOG)
    place = disk / "wal"
    place.mkdir(mode=0o700)
    programs.give_to_server(place)
    server.create("--wal-segsize=1", f"--waldir={place}")
    supervised = Supervised(server)
    yield supervised
    supervised.stop()


def test_jobs_outlast_a_full_disk_of_postgresqls_log_which_ends_the_server_again_and_again(
    logging_postgres: Supervised, disk: Path, start_service: Callable[..., Service]
) -> None:
    """Nothing can be written or read meanwhile, so it is an outage; the server needs space even to start."""
    upgrade(logging_postgres.server.url)
    service = start_service(database_url=logging_postgres.server.url, web_workers=1)
    processes = [service.start("dispatcher"), service.start_web(), *service.start_workers()]
    ballast = disk / "ballast"
    with httpx.Client(base_url=f"http://127.0.0.1:{service.settings.port}", trust_env=False, timeout=60) as client:

        def submit() -> httpx.Response:
            answer = client.post("/api/v1/jobs", json=LONG | {"seed": len(accepted)})
            if answer.status_code == 202:
                accepted.append(answer.json()["id"])
            return answer

        accepted: list[str] = []
        for _ in range(12):
            assert submit().status_code == 202
        fill(ballast)
        eventually(lambda: (submit(), logging_postgres.ends >= 3)[1], 120)
        refused = submit()
        assert (refused.status_code, refused.json()["code"]) == (503, "service_unavailable")
        assert "Retry-After" in refused.headers
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
        ballast.unlink()
        eventually(lambda: submit().status_code == 202, 60)
        eventually(lambda: client.get("/readyz").json().get("status") == "ok", 60)
        jobs = service.wait(accepted, 120)
    assert {job.state for job in jobs} == {JobState.SUCCEEDED}, service.logs()
    assert {job.losses for job in jobs} == {0}, service.logs()
    assert [process.poll() for process in processes] == [None] * 3, "no process of the service ended"
