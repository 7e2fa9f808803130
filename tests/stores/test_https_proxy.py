"""The proxy of `docker-compose.yml`: a real Caddy with its file in front of a real web server."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from limner_client.local.embedded_valkey import free_port
from limner_shared.db.schema import upgrade
from tests.processes import Service, eventually
from tests.stores import programs
from tests.stores.programs import Server

pytestmark = pytest.mark.long
CADDYFILE = Path(__file__).parents[2] / "deploy" / "Caddyfile"
ON_FREE_PORTS = """{{
	admin off
	http_port {http}
	https_port {https}
	skip_install_trust
}}
import {file}
"""


@pytest.fixture
def https(start_service: Callable[..., Service], tmp_path: Path) -> Iterator[httpx.Client]:
    """A client that reaches a service without workers through Caddy, and trusts only Caddy's own authority."""
    database_url, port = f"sqlite:///{tmp_path / 'limner.db'}", free_port()
    upgrade(database_url)
    service = start_service(database_url=database_url, web_workers=1, public_url=f"https://localhost:{port}")
    service.start_web()
    config, data = tmp_path / "Caddyfile", tmp_path / "caddy"
    config.write_text(ON_FREE_PORTS.format(http=free_port(), https=port, file=CADDYFILE))
    own = {"TLS_UPSTREAM": f"127.0.0.1:{service.settings.port}", "XDG_DATA_HOME": str(data), "HOME": str(tmp_path)}
    command = [programs.required(programs.CADDY), "run", "--config", config, "--adapter", "caddyfile"]
    caddy = Server(command, tmp_path / "caddy.log", os.environ | own)
    root = data / "caddy" / "pki" / "authorities" / "local" / "root.crt"
    try:
        eventually(root.exists, 30)
        verified = ssl.create_default_context(cafile=str(root))
        with httpx.Client(base_url=service.settings.public_url, verify=verified, trust_env=False, timeout=60) as client:
            eventually(lambda: responds(client), 30)
            yield client
    finally:
        caddy.kill()


def responds(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").is_success
    except httpx.TransportError:
        return False


def test_events_come_at_once_large_uploads_pass_and_links_are_those_of_the_proxy(https: httpx.Client) -> None:
    with https.stream("GET", "/api/v1/events") as events:
        lines = events.iter_lines()
        job = https.post("/api/v1/jobs", json={"prompt": "a red apple"}).json()["id"]
        assert any(job in line for line in lines), "while the stream is open"
    line = f'{{"prompt": "{"a long prompt " * 60}"}}\n'.encode()
    count = (20 << 20) // len(line)
    loaded = https.post("/api/v1/bulks", content=line * count, headers={"Content-Type": "application/x-ndjson"})
    assert loaded.json()["counts"]["queued"] == count, loaded.text
