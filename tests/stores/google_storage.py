"""An emulator of Google Cloud Storage with a bucket, as a fixture for the tests of Google Cloud."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from limner_client.local.embedded_valkey import free_port
from tests.processes import eventually
from tests.stores import programs
from tests.stores.google_front import GoogleFront
from tests.stores.programs import Server

BUCKET: Final = "pictures"
ACCOUNT: Final = "limner@example.iam.gserviceaccount.com"


@pytest.fixture
def google_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """An emulator with the bucket `pictures`, and the variables for it."""
    program = programs.required(programs.FAKE_GCS)
    program.chmod(0o755)
    port = free_port()
    target = f"http://127.0.0.1:{port}"
    options = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-public-host", f"127.0.0.1:{port}"]
    command = [program, *options, "-backend", "filesystem", "-filesystem-root", tmp_path / "google"]
    server = Server(command, tmp_path / "google.log", programs.environment())
    key = generate_private_key(public_exponent=65537, key_size=2048)
    front = GoogleFront(target, key.public_key())
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(key_file(tmp_path / "account.json", key, front.url)))
    monkeypatch.setenv("GOOGLE_ALLOW_HTTP", "true")
    try:
        eventually(lambda: _made_bucket(target), 60)
        yield server
    finally:
        front.close()
        server.kill()


def key_file(path: Path, key: RSAPrivateKey, url: str) -> Path:
    """Write a service account's key file; `url` is the server's address in place of Google's."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    content = {"client_email": ACCOUNT, "private_key": pem, "private_key_id": "1", "gcs_base_url": url}
    path.write_text(json.dumps(content))
    return path


def _made_bucket(target: str) -> bool:
    try:
        made = httpx.post(f"{target}/storage/v1/b", json={"name": BUCKET}, trust_env=False)
    except httpx.TransportError:  # it is starting
        return False
    return made.status_code == 200
