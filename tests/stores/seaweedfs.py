"""A SeaweedFS with a bucket, as a fixture for the tests of S3."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store

from limner_client.local.embedded_valkey import free_port
from tests.processes import eventually
from tests.stores import programs
from tests.stores.programs import Server

KEYS: Final = {"AWS_ACCESS_KEY_ID": "limner", "AWS_SECRET_ACCESS_KEY": "a-secret-of-the-test"}


def allow(*pairs: Mapping[str, str]) -> dict[str, Any]:
    """The server's configuration: one user with these pairs of keys."""
    credentials = [
        {"accessKey": keys["AWS_ACCESS_KEY_ID"], "secretKey": keys["AWS_SECRET_ACCESS_KEY"]} for keys in pairs
    ]
    return {
        "identities": [{"name": "limner", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List"]}]
    }


@pytest.fixture
def seaweedfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A SeaweedFS with the bucket `pictures`, and the variables for it."""
    weed = programs.required(programs.SEAWEEDFS)
    config = tmp_path / "s3.json"
    config.write_text(json.dumps(allow(KEYS)))
    ports = [free_port() for _ in range(4)]
    master, volume, filer, s3 = ports
    (tmp_path / "data").mkdir(exist_ok=True)
    command = [weed, "server", f"-dir={tmp_path / 'data'}", "-ip=127.0.0.1", f"-master.port={master}"]
    command += [f"-volume.port={volume}", "-filer", f"-filer.port={filer}", "-s3", f"-s3.port={s3}"]
    for name, port in (("master", master), ("volume", volume), ("filer", filer), ("s3", s3)):
        command.append(f"-{name}.port.grpc={free_port()}")
        assert port
    command += [f"-s3.config={config}", "-volume.max=8", "-master.volumeSizeLimitMB=64"]
    # Its index is not beside the objects: after a full disk it would need a restart.
    server = Server(command, tmp_path / "weed.log", {**os.environ, "WEED_LEVELDB2_DIR": str(tmp_path / "index")})
    variables = KEYS | {"AWS_ENDPOINT": f"http://127.0.0.1:{s3}", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    try:
        eventually(lambda: _made_bucket(f"http://127.0.0.1:{filer}"), 60)
        eventually(_is_writable, 60)
        yield server
    finally:
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
