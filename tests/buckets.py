"""Buckets that do not work."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@contextmanager
def unresponsive_bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a bucket whose server accepts connections and never responds."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        yield _url(monkeypatch, server.getsockname()[1])


class Denying(BaseHTTPRequestHandler):
    """Denies all reads but those of objects whose name begins with `ab`, as a store does with archived objects."""

    def do_GET(self) -> None:
        self.send_response(200 if "/ab" in self.path else 403)
        self.send_header("Content-Length", "7")
        self.send_header("Last-Modified", "Sat, 28 Nov 2026 12:00:00 GMT")
        self.send_header("ETag", '"1"')
        self.end_headers()
        self.wfile.write(b"picture")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """Say nothing."""


@contextmanager
def denying_bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a bucket that denies reads as `Denying` says."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Denying) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield _url(monkeypatch, server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


def _url(monkeypatch: pytest.MonkeyPatch, port: int) -> str:
    variables = {"ALLOW_HTTP": "true", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "REGION": "x"}
    for name, value in (variables | {"ENDPOINT": f"http://127.0.0.1:{port}"}).items():
        monkeypatch.setenv(f"AWS_{name}", value)
    return "s3://pictures"
