"""S3 that is busy, full, slow, cut off, or refuses: each failure says why, and nothing is lost or shown in half."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from obstore.store import S3Store

from limner_client.operations.blob_copy import copy_store
from limner_shared.errors import ObjectLost, StorageFailed, StorageFull
from limner_shared.storage import buckets, object_store
from limner_shared.storage.blobs import Blobs, picture_key
from limner_shared.storage_failures import StorageReason, reason_of
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


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call is tried once, for a second, and the circuit breaker stays closed."""
    monkeypatch.setattr(buckets, "RETRIES", 0)
    monkeypatch.setattr(object_store, "FAILURES", 100)
    monkeypatch.setattr(buckets, "REQUEST_SECONDS", 1)


def stored_keys() -> set[str]:
    store = S3Store("pictures", prefix="limner", client_options={"allow_http": True})
    return {entry["path"] for page in cast("Any", store).list() for entry in page}


@pytest.mark.usefixtures("impatient")
def test_an_upload_that_is_cut_leaves_no_object(s3: FaultyS3) -> None:
    blobs = Blobs(URL)
    for data in (os.urandom(1 << 20), os.urandom(LARGE)):
        s3.inject(Fault.CUT)
        with pytest.raises(StorageFailed):
            blobs.put(data)
        assert s3.faults
        s3.inject(Fault.NONE)
        assert picture_key(hashlib.sha256(data).hexdigest()) not in stored_keys()
        assert blobs.get(blobs.put(data)) == data


@pytest.mark.usefixtures("impatient")
def test_each_failure_of_the_store_says_why(s3: FaultyS3) -> None:
    data = os.urandom(1 << 20)
    blobs = Blobs(URL)
    digest = blobs.put(data)
    for fault, reason in {
        Fault.BUSY: StorageReason.BUSY,
        Fault.BROKEN: StorageReason.SERVER,
        Fault.DENIED: StorageReason.DENIED,
        Fault.SKEWED: StorageReason.CLOCK,
        Fault.NO_BUCKET: StorageReason.NO_BUCKET,
        Fault.HELD: StorageReason.TIMEOUT,
        Fault.STALLED: StorageReason.TIMEOUT,
        Fault.HALF: StorageReason.CUT,
    }.items():
        s3.inject(fault)
        with pytest.raises(StorageFailed) as failed:
            blobs.get(digest)
        assert (fault, reason_of(failed.value)) == (fault, reason)
        s3.inject(Fault.NONE)
        assert blobs.get(digest) == data
    for fault in (Fault.FULL, Fault.OVER_QUOTA):
        s3.inject(fault)
        with pytest.raises(StorageFull):
            blobs.put(b"another")
        assert blobs.get(digest) == data, "a full store can be read"


@pytest.mark.usefixtures("impatient")
def test_half_a_picture_is_never_returned_and_a_lost_one_is_named(s3: FaultyS3) -> None:
    blobs = Blobs(URL)
    digest = blobs.put(os.urandom(1 << 20))
    for fault, problem in ((Fault.SHORTENED, "damaged"), (Fault.LOST, "missing")):
        s3.inject(fault)
        with pytest.raises(ObjectLost) as lost:
            blobs.get(digest)
        assert lost.value.details == {"object": picture_key(digest), "problem": problem}


@pytest.mark.usefixtures("impatient")
def test_a_full_bucket_is_freed_by_deletions(s3: FaultyS3) -> None:
    blobs = Blobs(URL)
    digest = blobs.put(b"garbage")
    s3.inject(Fault.FULL)
    assert blobs.set_aside(digest, unless_written_within=-1)
    s3.inject(Fault.NONE)
    assert not stored_keys()


@pytest.mark.usefixtures("impatient")
def test_a_copy_of_a_store_says_where_it_stopped_and_continues(s3: FaultyS3, tmp_path: Path) -> None:
    folder = tmp_path / "blobs"
    digests = Blobs(folder.as_uri()).put_all([os.urandom(1000 * n) for n in range(1, 9)])
    for fault in (Fault.BUSY, Fault.DENIED, Fault.CUT, Fault.NO_BUCKET):
        s3.inject(fault)
        with pytest.raises(StorageFailed):
            copy_store(str(folder), URL, pytest.fail, verify=True)
    s3.inject(Fault.NONE)
    done = copy_store(str(folder), URL, pytest.fail, verify=True)
    assert done.copied + done.skipped == done.verified == len(digests)
    for fault in (Fault.HALF, Fault.NO_BUCKET):
        s3.inject(fault)
        with pytest.raises(StorageFailed):
            copy_store(URL, str(tmp_path / "back"), pytest.fail, verify=False)
    s3.inject(Fault.NONE)
    copy_store(URL, str(tmp_path / "back"), pytest.fail, verify=True)
    back = Blobs((tmp_path / "back").as_uri())
    assert all(hashlib.sha256(back.get(digest)).hexdigest() == digest for digest in digests)


def test_a_full_store_is_told_from_one_that_fails(s3: FaultyS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "RETRIES", 0)
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
