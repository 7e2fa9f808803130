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
    """Denies all reads but those of objects whose names begin so, as a store does with archived objects."""

    returns: tuple[str, ...] = ()

    def do_GET(self) -> None:
        self._answer(200 if self.path.rpartition("/")[2].startswith(self.returns) else 403)

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "7")
        self.send_header("Last-Modified", "Sat, 28 Nov 2026 12:00:00 GMT")
        self.send_header("ETag", '"1"')
        self.end_headers()
        self.wfile.write(b"picture")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """Say nothing."""


@contextmanager
def denying_bucket(monkeypatch: pytest.MonkeyPatch, returns: tuple[str, ...]) -> Iterator[str]:
    """The URL of a bucket that takes writes and denies reads, but those of objects whose names begin so."""
    handler = type("Handler", (Denying,), {"returns": returns})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
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
