"""Pictures in a real server of S3: SeaweedFS."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store

from limner_client.local.embedded_valkey import free_port
from limner_shared.errors import StorageFailed
from limner_shared.storage import object_store
from limner_shared.storage.blobs import Blobs
from limner_shared.storage.object_store import Store
from tests.processes import eventually
from tests.stores import programs
from tests.stores.programs import Server

pytestmark = pytest.mark.long

KEYS = {"AWS_ACCESS_KEY_ID": "limner", "AWS_SECRET_ACCESS_KEY": "a-secret-of-the-test"}


@pytest.fixture
def seaweedfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A SeaweedFS with the bucket `pictures`, and the variables for it."""
    weed = programs.required(programs.SEAWEEDFS)
    credentials = {"accessKey": KEYS["AWS_ACCESS_KEY_ID"], "secretKey": KEYS["AWS_SECRET_ACCESS_KEY"]}
    identity = {"name": "limner", "credentials": [credentials], "actions": ["Admin", "Read", "Write", "List"]}
    config = tmp_path / "s3.json"
    config.write_text(json.dumps({"identities": [identity]}))
    ports = [free_port() for _ in range(4)]
    master, volume, filer, s3 = ports
    (tmp_path / "data").mkdir()
    command = [weed, "server", f"-dir={tmp_path / 'data'}", "-ip=127.0.0.1", f"-master.port={master}"]
    command += [f"-volume.port={volume}", "-filer", f"-filer.port={filer}", "-s3", f"-s3.port={s3}"]
    for name, port in (("master", master), ("volume", volume), ("filer", filer), ("s3", s3)):
        command.append(f"-{name}.port.grpc={free_port()}")
        assert port
    command += [f"-s3.config={config}", "-volume.max=8", "-master.volumeSizeLimitMB=64"]
    server = Server(command, tmp_path / "weed.log", os.environ)
    variables = KEYS | {"AWS_ENDPOINT": f"http://127.0.0.1:{s3}", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    eventually(lambda: _made_bucket(f"http://127.0.0.1:{filer}"), 60)
    eventually(_is_writable, 60)
    yield server
    server.kill()


def _made_bucket(filer: str) -> bool:
    try:
        return httpx.post(f"{filer}/buckets/pictures/", trust_env=False).status_code < 300
    except httpx.TransportError:
        return False


def _is_writable() -> bool:
    try:
        S3Store("pictures", client_options={"allow_http": True}).put("probe", b"probe")
    except BaseError:  # it is starting
        return False
    return True


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
