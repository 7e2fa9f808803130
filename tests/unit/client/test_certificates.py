"""Servers whose certificate is of an operator's own authority."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner
from tests.stores.certificates import Certificate, make_certificate

from limner_client.certificates import trusted
from limner_client.cli.main import cli
from limner_client.client import Client
from limner_client.errors import ServerUnreachable
from limner_shared.errors import ConfigurationError

ANSWERS: dict[str, Any] = {"/readyz": {"database": "ok"}, "/metrics/targets": []}


class Answers(BaseHTTPRequestHandler):
    """Answers like a service that has just been installed."""

    def do_GET(self) -> None:
        body = json.dumps(ANSWERS.get(self.path, {"items": []})).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing is logged."""


@contextmanager
def serving(certificate: Certificate) -> Iterator[str]:
    """The URL of a server with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"https://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path / "certificates")


def test_a_server_of_an_own_authority_is_examined_and_used_once_the_authority_is_named(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(certificate) as url:
        refused = CliRunner().invoke(cli, ["doctor", "--server", url])
        assert refused.exit_code == 1
        assert "certificate verify failed" in refused.output
        with Client(url) as client, pytest.raises(ServerUnreachable, match="certificate"):
            client.models()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.authority))
        assert f"{url} answers" in CliRunner().invoke(cli, ["doctor", "--server", url]).output
        with Client(url) as client:
            assert client.models() == []


def test_a_file_without_certificates_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (None, "no certificate"):
        file = tmp_path / "authority.pem"
        if content:
            file.write_text(content)
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        with pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
            trusted()
