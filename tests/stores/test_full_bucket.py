"""A bucket whose server's disk is really full: jobs wait, and nothing is lost once there is space."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from limner_client.local.embedded_valkey import free_port
from limner_shared.db.schema import upgrade
from limner_shared.domain.jobs import JobState
from tests.processes import Service, eventually
from tests.small_disks import fill, needs_root, small_disk
from tests.stores.programs import Server

pytestmark = [
    pytest.mark.long,
    needs_root,
]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 MB, in which the server keeps the objects."""
    with small_disk(tmp_path / "data", megabytes=100) as folder:
        yield folder


def test_jobs_wait_for_a_full_bucket(
    disk: Path, seaweedfs: Server, start_service: Callable[..., Service], tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'limner.db'}"
    upgrade(url)
    service = start_service(
        blob_url="s3://pictures/limner", database_url=url, web_workers=1, metrics=False, port=free_port()
    )
    service.start("dispatcher")
    service.start_web()
    service.start_workers()
    ballast = disk / "ballast"
    with httpx.Client(base_url=f"http://127.0.0.1:{service.settings.port}", trust_env=False, timeout=60) as client:
        service.wait(service.submit(1))
        fill(ballast)
        ids = service.submit(200)  # the first fit into what is left of the server's pages
        eventually(lambda: client.get("/readyz").json()["store"] == "failing", 90)
        found = {JobState(job.state) for job in service.jobs(ids)}
        assert found & {JobState.QUEUED, JobState.RUNNING}
        assert JobState.FAILED not in found
        ballast.unlink()
        jobs = service.wait(ids, 120)
        assert {(job.state, job.losses) for job in jobs} == {(JobState.SUCCEEDED, 0)}, service.logs()
        for job in jobs:
            [image] = client.get(f"/api/v1/jobs/{job.id}").json()["images"]
            assert hashlib.sha256(client.get(image["url"]).content).hexdigest() == image["sha256"]
        eventually(lambda: client.get("/readyz").json()["status"] == "ok", 60)
