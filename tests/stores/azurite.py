"""An Azurite with a container, as a fixture for the tests of Azure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httpx
import pytest

from limner_client.local.embedded_valkey import free_port
from tests.processes import eventually
from tests.stores import programs
from tests.stores.programs import Server

ACCOUNT: Final = "limner"
KEY: Final = base64.b64encode(b"a secret of the test" * 3).decode()
VERSION: Final = "2023-11-03"
CONTAINER: Final = "pictures"


@pytest.fixture
def azurite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """An Azurite with the container `pictures`, and the variables for it."""
    program = programs.required(programs.AZURITE)
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    port = free_port()
    command = [node, program, "--blobPort", str(port), "--location", str(tmp_path / "azure"), "--disableTelemetry"]
    command.append("--silent")
    server = Server(command, tmp_path / "azurite.log", {**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"})
    endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
    variables = {"ACCOUNT_NAME": ACCOUNT, "ACCOUNT_KEY": KEY, "ENDPOINT": endpoint}
    for name, value in variables.items():
        monkeypatch.setenv(f"AZURE_STORAGE_{name}", value)
    monkeypatch.setenv("AZURE_ALLOW_HTTP", "true")
    try:
        eventually(lambda: _made_container(endpoint), 60)
        yield server
    finally:
        server.kill()


def _made_container(endpoint: str) -> bool:
    """Create the container, by a request that is signed as Azure's "Authorize with Shared Key" says."""
    date = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    headers = f"x-ms-date:{date}\nx-ms-version:{VERSION}\n"
    resource = f"/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
    text = "PUT" + "\n" * 12 + headers + resource
    signature = base64.b64encode(hmac.digest(base64.b64decode(KEY), text.encode(), hashlib.sha256)).decode()
    sent = {"x-ms-date": date, "x-ms-version": VERSION, "Authorization": f"SharedKey {ACCOUNT}:{signature}"}
    try:
        url = f"{endpoint}/{CONTAINER}?restype=container"
        return httpx.put(url, headers=sent, trust_env=False).status_code == 201
    except httpx.TransportError:  # it is starting
        return False
