"""What every object store must do: each check gets the URL of an empty one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from limner_client.local.embedded_valkey import free_port
from limner_client.operations.blob_copy import copy_store
from limner_shared.db.schema import upgrade
from limner_shared.domain.jobs import JobState
from limner_shared.storage.blobs import Blobs
from limner_shared.storage.object_store import Store
from tests.processes import Service


def check_objects(url: str) -> None:
    """Store, list, move and delete objects of any size at this URL."""
    blobs, store = Blobs(url), Store(url)
    large = os.urandom(20 << 20)  # over the limit of one part
    digest, small = blobs.put_all([large, b"picture"])
    assert blobs.get(digest) == large
    assert {key for page in store.sizes("") for key in page} == {f"{name[:2]}/{name}" for name in (digest, small)}
    assert blobs.set_aside(small, unless_written_within=-1)
    assert blobs.get(small) == b"picture"
    [[aside]] = list(blobs.list_set_aside(-1))
    blobs.put_back(aside)
    assert blobs.key_in_place(small) is not None
    assert blobs.set_aside(small, unless_written_within=-1)
    blobs.delete(aside)
    assert store.get(f"{small[:2]}/{small}") is None
    blobs.store_checkpoint("job-0", b"half a picture")
    assert blobs.load_checkpoint("job-0") == b"half a picture"


def check_copy(url: str, tmp_path: Path) -> None:
    """Copy pictures from a folder, and once more, which skips them."""
    digests = Blobs(tmp_path.joinpath("blobs").as_uri()).put_all([os.urandom(1000 * n) for n in range(1, 9)])
    done = copy_store(str(tmp_path / "blobs"), url, pytest.fail, verify=True)
    assert (done.copied, done.verified) == (8, 8)
    assert copy_store(str(tmp_path / "blobs"), url, pytest.fail, verify=False).skipped == 8
    assert all(hashlib.sha256(Blobs(url).get(digest)).hexdigest() == digest for digest in digests)


def check_all_processes(url: str, start_service: Callable[..., Service], tmp_path: Path) -> None:
    """Draw with all processes; the web process redirects to signed URLs."""
    database_url = f"sqlite:///{tmp_path / 'limner.db'}"
    upgrade(database_url)
    changes = {"web_workers": 1, "metrics": False, "port": free_port(), "delivery_seconds": 60}
    service = start_service(blob_url=url, database_url=database_url, **changes)
    service.start("dispatcher")
    service.start_web()
    service.start_workers()
    jobs = service.wait(service.submit(4))
    assert {job.state for job in jobs} == {JobState.SUCCEEDED}, service.logs()
    with httpx.Client(base_url=f"http://127.0.0.1:{service.settings.port}", trust_env=False, timeout=60) as client:
        for job in jobs:
            [image] = client.get(f"/api/v1/jobs/{job.id}").json()["images"]
            answer = client.get(image["url"], follow_redirects=True)
            assert [each.status_code for each in answer.history] == [307]
            assert hashlib.sha256(answer.content).hexdigest() == image["sha256"]
