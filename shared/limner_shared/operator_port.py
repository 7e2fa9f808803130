"""The operator's port of a dispatcher or worker: `/metrics` and `/healthz`, on one supervised thread. The web server
has its own.
"""

from __future__ import annotations

import json
import socket
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Final, cast

from limner_shared.metrics.exposition import render
from limner_shared.settings import Settings, is_loopback
from limner_shared.telemetry import get_logger
from limner_shared.threads import Supervisor

log = get_logger(__name__)

CLIENT_SECONDS: Final = 5
"""A slower client is disconnected: one request is served at a time."""


def serve_metrics(settings: Settings, threads: Supervisor) -> str:
    """Serve the metrics of this process and return the address, such as `127.0.0.1:9100`.

    Returns an empty string if metrics are off or the port cannot be opened: a process works without being watched.
    """
    if not settings.metrics:
        return ""
    try:
        server = _Server((settings.metrics_host, settings.metrics_port), threads)
    except OSError as error:
        log.error("the port for metrics cannot be opened", port=settings.metrics_port, error=str(error))
        return ""
    address = address_of(settings, server.server_address[1])
    threads.start("metrics", server.serve_forever)
    log.info("metrics are served", address=address)
    return address


def address_of(settings: Settings, port: int) -> str:
    """The address at which others reach a port on `metrics_host`."""
    host = settings.metrics_host
    if host in ("0.0.0.0", "::"):  # noqa: S104 - nothing is bound here
        host = socket.gethostname()
    elif is_loopback(host):
        host = "127.0.0.1" if ":" not in host else "::1"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Server(HTTPServer):
    def __init__(self, address: tuple[str, int], threads: Supervisor) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.threads = threads
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is not an error of this process."""
        log.debug("a request for metrics failed")


class _Handler(BaseHTTPRequestHandler):
    timeout = CLIENT_SECONDS

    def do_GET(self) -> None:
        """Answer `/metrics`, and `/healthz`: 503 with their names while threads are beyond their time limits."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            body, content_type = render()
            self._answer(HTTPStatus.OK, body, content_type)
        elif path == "/healthz":
            stalled = sorted(cast("_Server", self.server).threads.stalled())
            status = HTTPStatus.SERVICE_UNAVAILABLE if stalled else HTTPStatus.OK
            body = json.dumps({"status": "stalled" if stalled else "ok", "stalled": stalled}).encode()
            self._answer(status, body, "application/json")
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _answer(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the method that it replaces
        """Log nothing: scrapes come every few seconds."""
