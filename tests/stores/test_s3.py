"""Pictures in a real server of S3: SeaweedFS."""

from __future__ import annotations

import os

import pytest

from limner_shared.errors import StorageFailed
from limner_shared.storage import object_store
from limner_shared.storage.blobs import Blobs
from limner_shared.storage.object_store import Store
from tests.stores.programs import Server

pytestmark = pytest.mark.long


def test_objects_of_any_size_are_stored_listed_moved_and_deleted(seaweedfs: Server):
    blobs, store = Blobs("s3://pictures/limner"), Store("s3://pictures/limner")
    large = os.urandom(20 << 20)  # over the limit of one part
    digest, small = blobs.put_all([large, b"picture"])
    assert blobs.get(digest) == large
    assert {key for page in store.sizes("") for key in page} == {f"{name[:2]}/{name}" for name in (digest, small)}
    assert blobs.delete(small, unless_written_within=-1)
    assert blobs.get(small) == b"picture"
    [[aside]] = list(blobs.set_aside(-1))
    blobs.delete_for_good(aside)
    assert store.get(f"{small[:2]}/{small}") is None
    blobs.store_checkpoint("job-0", b"half a picture")
    assert blobs.load_checkpoint("job-0") == b"half a picture"


def test_wrong_keys_and_a_lost_server_are_failures_of_the_store(seaweedfs: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(object_store, "RETRIES", 0)
    right = Blobs("s3://pictures")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(StorageFailed):
        Blobs("s3://pictures").put(b"picture")
    digest = right.put(b"picture")
    seaweedfs.kill()
    with pytest.raises(StorageFailed):
        right.get(digest)
