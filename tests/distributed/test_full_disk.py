"""A disk that is really full, of pictures or of all: jobs wait, health says so, and nothing is lost afterwards."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from limner_client.local.embedded_valkey import free_port
from limner_shared.domain.jobs import JobState
from tests.distributed.full_database import outlasts, watched
from tests.distributed.null_services import null_service, redis_server
from tests.e2e.running import limner_up
from tests.processes import Service, eventually
from tests.small_disks import fill, needs_root, small_disk

__all__ = ["null_service", "redis_server"]
pytestmark = [pytest.mark.long, needs_root]
CARD = Path(__file__).parents[1] / "models" / "null.toml"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    with small_disk(tmp_path / "pictures", megabytes=8) as folder:
        yield folder


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_jobs_wait_for_space_and_health_says_so(null_service: Service, disk: Path) -> None:
    port, blobs = free_port(), (disk / "blobs").as_uri()
    null_service.settings = null_service.settings.model_copy(update={"blob_url": blobs, "port": port, "web_workers": 1})
    null_service.start("dispatcher")
    null_service.start_web()
    null_service.start_workers()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:

        def health() -> dict[str, Any]:
            return client.get("/readyz").json()

        [before] = null_service.wait(null_service.submit(1))
        fill(disk / "ballast")
        ids = null_service.submit(20)
        eventually(lambda: health()["store"] == "failing", 60)
        assert health()["status"] == "degraded"
        accepted = client.post("/api/v1/jobs", json={"prompt": "while it is full"})
        assert accepted.status_code == 202
        ids.append(accepted.json()["id"])
        assert not any(JobState(job.state).terminal for job in null_service.jobs(ids))
        [image] = client.get(f"/api/v1/jobs/{before.id}").json()["images"]
        assert client.get(image["url"]).is_success, "stored pictures are read"
        (disk / "ballast").unlink()
        jobs = null_service.wait(ids, 120)
        assert {(job.state, job.losses) for job in jobs} == {(JobState.SUCCEEDED, 0)}, null_service.logs()
        for job in jobs:
            [image] = client.get(f"/api/v1/jobs/{job.id}").json()["images"]
            assert hashlib.sha256(client.get(image["url"]).content).hexdigest() == image["sha256"]
        eventually(lambda: health()["status"] == "ok", 60)
    assert not list((disk / "blobs").rglob(".*")), "no partial file is left"


def test_limner_up_outlasts_a_full_disk_of_database_redis_pictures_and_logs(tmp_path: Path) -> None:
    port, settings = free_port(), {"LIMNER_MODELS": str(CARD), "LIMNER_DEFAULT_MODEL": "null"}
    quick = {"LIMNER_LEASE_SECONDS": "6", "LIMNER_HEARTBEAT_SECONDS": "1"}
    # What `limner up` prints goes to a file on the same disk.
    with small_disk(tmp_path / "disk", megabytes=300) as disk, limner_up(disk / "data", port, **settings | quick):
        full = FullDisk(disk / "ballast")
        with watched(port) as service:
            outlasts(service, full.fill, full.free)
            with closing(sqlite3.connect(disk / "data" / "limner.db")) as database:
                assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                states = set(database.execute("SELECT losses FROM jobs").fetchall())
        assert states == {(0,)}


class FullDisk:
    """Keeps a disk full of what others give back, until it is freed."""

    def __init__(self, ballast: Path) -> None:
        self._ballast = ballast
        self._ended = threading.Event()
        self._filler = threading.Thread(target=self._keep, daemon=True)

    def fill(self) -> None:
        fill(self._ballast)
        self._filler.start()

    def free(self) -> None:
        self._ended.set()
        self._filler.join()
        self._ballast.unlink()

    def _keep(self) -> None:
        while not self._ended.wait(0.05):
            fill(self._ballast)
