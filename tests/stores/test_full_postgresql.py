"""PostgreSQL whose disk is full: running jobs wait, new ones are refused, and all ends well once there is space."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from limner_shared.db.engine import upgrade
from tests.distributed.full_database import outlasts, watched
from tests.processes import Service
from tests.small_disks import fill, needs_root, small_disk
from tests.stores import programs
from tests.stores.postgresql import EMBEDDED, Postgres

pytestmark = [pytest.mark.long, needs_root]


@pytest.fixture
def disk(server_folder: Path) -> Iterator[Path]:
    with small_disk(server_folder / "space", megabytes=40) as folder:
        yield folder


@pytest.fixture
def postgres(server_folder: Path, disk: Path) -> Iterator[Postgres]:
    """A PostgreSQL with the tables on the small disk; a full disk of its log would end the server itself."""
    server = Postgres(server_folder / "full", EMBEDDED)
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
