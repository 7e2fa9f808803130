"""S3 that is busy, full, slow or cut off: no picture is lost, no job fails, and no half upload appears."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
import pytest
from obstore.store import S3Store

from limner_shared.db.engine import upgrade
from limner_shared.domain.jobs import JobState
from limner_shared.errors import StorageFailed, StorageFull
from limner_shared.storage import object_store
from limner_shared.storage.blobs import Blobs, picture_key
from tests.processes import Service, eventually
from tests.stores.programs import Server
from tests.stores.s3_faults import Fault, FaultyS3

pytestmark = pytest.mark.long

URL = "s3://pictures/limner"
LARGE = 12 << 20
"""Over the limit of one part: the client uploads it in several."""


@pytest.fixture
def s3(seaweedfs: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    """The SeaweedFS behind a proxy that injects faults; `AWS_ENDPOINT` is the proxy."""
    port = urlsplit(os.environ["AWS_ENDPOINT"]).port
    assert port is not None
    proxy = FaultyS3(port)
    monkeypatch.setenv("AWS_ENDPOINT", proxy.url)
    yield proxy
    proxy.close()


def stored_keys() -> set[str]:
    store = S3Store("pictures", prefix="limner", client_options={"allow_http": True})
    return {entry["path"] for page in cast("Any", store).list() for entry in page}


def test_an_upload_that_is_cut_leaves_no_object(s3: FaultyS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store, "RETRIES", 0)
    monkeypatch.setattr(object_store, "FAILURES", 100)
    blobs = Blobs(URL)
    for data in (os.urandom(1 << 20), os.urandom(LARGE)):
        s3.inject(Fault.CUT)
        with pytest.raises(StorageFailed):
            blobs.put(data)
        assert s3.faults
        s3.inject(Fault.NONE)
        assert picture_key(hashlib.sha256(data).hexdigest()) not in stored_keys()
        assert blobs.get(blobs.put(data)) == data


def test_a_full_store_is_told_from_one_that_fails(s3: FaultyS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store, "RETRIES", 0)
    blobs = Blobs(URL)
    digest = blobs.put(b"stored before")
    s3.inject(Fault.FULL)
    for _ in range(object_store.FAILURES + 1):
        with pytest.raises(StorageFull):
            blobs.put(b"picture")
    assert blobs.get(digest) == b"stored before", "a full store can be read"
    s3.inject(Fault.BUSY)
    with pytest.raises(StorageFailed):
        blobs.put(b"picture")


def test_each_upload_asks_for_the_encryption_that_is_set(s3: FaultyS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SERVER_SIDE_ENCRYPTION", "AES256")
    with suppress(StorageFailed):  # this server need not encrypt
        Blobs(URL).put_all([b"picture", os.urandom(LARGE)])
    with suppress(StorageFailed):
        Blobs(URL).put(os.urandom(LARGE))
    assert s3.encryption == {"AES256"}


@pytest.fixture
def service(s3: FaultyS3, start_service: Callable[..., Service], tmp_path: Path) -> Service:
    """All processes, with their pictures in the bucket behind the proxy."""
    url = f"sqlite:///{tmp_path / 'limner.db'}"
    upgrade(url)
    started = start_service(blob_url=URL, database_url=url, web_workers=1, metrics=False)
    started.start("dispatcher")
    started.start_web()
    started.start_workers()
    return started


def test_a_job_outlasts_each_fault_of_the_store_and_its_picture_is_whole(service: Service, s3: FaultyS3) -> None:
    for fault in (Fault.BUSY, Fault.FULL, Fault.CUT, Fault.HELD):
        s3.inject(fault)
        ids = service.submit(2, seed=list(Fault).index(fault))
        eventually(lambda: s3.faults >= 2, 60)  # the worker has tried, and tries again
        assert all(job.state == JobState.RUNNING for job in service.jobs(ids)), fault
        s3.inject(Fault.NONE)
        jobs = service.wait(ids, 120)
        assert [(job.state, job.attempt, job.losses) for job in jobs] == [(JobState.SUCCEEDED, 1, 0)] * 2, fault
    for key in stored_keys():
        data = bytes(S3Store("pictures", prefix="limner", client_options={"allow_http": True}).get(key).bytes())
        assert len(key.rsplit("/")[-1]) != 64 or hashlib.sha256(data).hexdigest() == key.rsplit("/")[-1]


def test_the_web_server_answers_others_while_the_store_holds_its_requests(service: Service, s3: FaultyS3) -> None:
    [job] = service.wait(service.submit(1))
    with httpx.Client(base_url=f"http://127.0.0.1:{service.settings.port}", trust_env=False, timeout=60) as client:
        [image] = client.get(f"/api/v1/jobs/{job.id}").json()["images"]
        s3.inject(Fault.HELD)
        with ThreadPoolExecutor(4) as threads:
            held = [threads.submit(client.get, f"/api/v1/images/{image['id']}") for _ in range(4)]
            eventually(lambda: s3.faults >= 1)
            assert client.get(f"/api/v1/jobs/{job.id}").is_success
            assert not any(each.done() for each in held)
            s3.inject(Fault.NONE)
            assert all(hashlib.sha256(each.result().content).hexdigest() == image["sha256"] for each in held)
