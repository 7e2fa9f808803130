"""A disk of pictures that is really full: jobs wait, health says so, and nothing is lost once there is space."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from limner_client.local.embedded_valkey import free_port
from limner_shared.domain.jobs import JobState
from tests.distributed.null_services import null_service, redis_server
from tests.processes import Service, eventually
from tests.small_disks import needs_root, small_disk

__all__ = ["null_service", "redis_server"]
pytestmark = [
    pytest.mark.long,
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True),
    needs_root,
]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    with small_disk(tmp_path / "pictures", megabytes=8) as folder:
        yield folder


def fill(ballast: Path) -> None:
    for size in (4096, 1):
        with suppress(OSError), ballast.open("ab", buffering=0) as out:
            while out.write(b"0" * size):
                continue


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
