"""Pictures in a real server of S3: SeaweedFS."""

from __future__ import annotations

import pytest

from limner_shared.errors import StorageFailed
from limner_shared.storage import buckets
from limner_shared.storage.blobs import Blobs
from tests.stores.objects import check_objects
from tests.stores.programs import Server

pytestmark = pytest.mark.long


def test_objects_of_any_size_are_stored_listed_moved_and_deleted(seaweedfs: Server):
    check_objects("s3://pictures/limner")


def test_wrong_keys_and_a_lost_server_are_failures_of_the_store(seaweedfs: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(buckets, "RETRIES", 0)
    right = Blobs("s3://pictures")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(StorageFailed):
        Blobs("s3://pictures").put(b"picture")
    digest = right.put(b"picture")
    seaweedfs.kill()
    with pytest.raises(StorageFailed):
        right.get(digest)
