"""A proxy in front of a server of S3 that injects faults: busy, full, cut uploads, and requests that are held."""

from __future__ import annotations

import threading
from contextlib import suppress
from enum import StrEnum
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final


class Fault(StrEnum):
    """What the proxy does to each request."""

    NONE = "none"
    BUSY = "busy"
    """Answer 503 SlowDown."""
    FULL = "full"
    """Answer an upload with 507, as MinIO does when its disks are full."""
    CUT = "cut"
    """Forward half of an upload, then close both connections."""
    HELD = "held"
    """Forward nothing until the fault ends."""


ANSWERS: Final = {Fault.BUSY: (503, "SlowDown"), Fault.FULL: (507, "XMinioStorageFull")}
HOP_HEADERS: Final = frozenset({"transfer-encoding", "connection", "content-length"})


class FaultyS3:
    """Forwards requests to a server on this machine. `faults` counts those that met the fault."""

    def __init__(self, port: int) -> None:
        self.fault = Fault.NONE
        self.faults = 0
        self.encryption: set[str | None] = set()
        """The values of the header of server-side encryption in uploads and in the starts of those in parts."""
        self.changed = threading.Condition()

        class Handler(_Handler):
            proxy = self
            target = port

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def inject(self, fault: Fault) -> None:
        """Apply a fault to the requests from now on; NONE ends it, also for those that are held."""
        with self.changed:
            self.fault, self.faults = fault, 0
            self.changed.notify_all()

    def meet(self, *, upload: bool) -> Fault:
        """The fault that a request meets; waits while requests are held."""
        with self.changed:
            fault = self.fault
            if fault in (Fault.FULL, Fault.CUT) and not upload:
                return Fault.NONE
            self.faults += fault is not Fault.NONE
            self.changed.wait_for(lambda: self.fault is not Fault.HELD)
        return Fault.NONE if fault is Fault.HELD else fault

    def close(self) -> None:
        self.inject(Fault.NONE)
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultyS3
    target: int

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "partNumber" not in self.path and (self.command == "PUT" or self.path.endswith("uploads")):
            self.proxy.encryption.add(self.headers.get("x-amz-server-side-encryption"))
        fault = self.proxy.meet(upload=self.command == "PUT")
        if fault in ANSWERS:
            status, code = ANSWERS[fault]
            self._answer(status, {}, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())
        else:
            self._forward(body[: len(body) // 2] if fault is Fault.CUT else body, cut=fault is Fault.CUT)

    do_GET = handle_any  # noqa: N815 - the names of the base class
    do_PUT = handle_any  # noqa: N815
    do_POST = handle_any  # noqa: N815
    do_DELETE = handle_any  # noqa: N815
    do_HEAD = handle_any  # noqa: N815

    def _forward(self, body: bytes, *, cut: bool) -> None:
        server = HTTPConnection("127.0.0.1", self.target, timeout=30)
        server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            server.putheader(name, value)  # unchanged, because they are signed
        server.endheaders(body)
        if cut:
            server.close()
            self.close_connection = True
            return
        found = server.getresponse()
        self._answer(found.status, dict(found.getheaders()), found.read())
        server.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        with suppress(ConnectionError):  # the client has given up
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in HOP_HEADERS:
                    self.send_header(name, value)
            # The response to HEAD has the length of the object and no body.
            length = next((value for name, value in headers.items() if name.lower() == "content-length"), None)
            is_head = self.command == "HEAD" and length is not None
            self.send_header("Content-Length", length if is_head and length else str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Log nothing."""
