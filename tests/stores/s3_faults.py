"""A proxy in front of a server of S3 that injects faults into requests and answers."""

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
    BROKEN = "broken"
    """Answer 500 InternalError."""
    DENIED = "denied"
    """Answer 403, as for keys that were withdrawn."""
    SKEWED = "skewed"
    """Answer 403, as for a client whose clock is wrong by more than 15 minutes."""
    NO_BUCKET = "no bucket"
    """Answer 404, as for a bucket that was deleted or renamed."""
    FULL = "full"
    """Answer an upload or a copy with 507, as MinIO does when its disks are full."""
    OVER_QUOTA = "over quota"
    """Answer an upload or a copy with 403, as Ceph does when a quota is used up."""
    CUT = "cut"
    """Forward half of an upload, then close both connections."""
    HELD = "held"
    """Forward nothing until the fault ends."""
    SLOW = "slow"
    """Forward each request after `SLOW_SECONDS`."""
    HALF = "half"
    """Send half of a download, then close the connection."""
    STALLED = "stalled"
    """Send half of a download, then nothing until the fault ends."""
    SHORTENED = "shortened"
    """Send half of a download as if it were the whole, as a damaged store does."""
    LOST = "lost"
    """Answer a download with 404, as for an object that is lost."""


ANSWERS: Final = {
    Fault.BUSY: (503, "SlowDown"),
    Fault.BROKEN: (500, "InternalError"),
    Fault.DENIED: (403, "InvalidAccessKeyId"),
    Fault.SKEWED: (403, "RequestTimeTooSkewed"),
    Fault.NO_BUCKET: (404, "NoSuchBucket"),
    Fault.FULL: (507, "XMinioStorageFull"),
    Fault.OVER_QUOTA: (403, "QuotaExceeded"),
    Fault.LOST: (404, "NoSuchKey"),
}
ONLY: Final[dict[Fault, str]] = {
    **dict.fromkeys((Fault.FULL, Fault.OVER_QUOTA, Fault.CUT), "PUT"),
    **dict.fromkeys((Fault.HALF, Fault.STALLED, Fault.SHORTENED, Fault.LOST), "GET"),
}
"""The method of the requests that these faults concern; the others concern all."""
INCOMPLETE: Final = (Fault.HALF, Fault.STALLED)
HOP_HEADERS: Final = frozenset({"transfer-encoding", "connection", "content-length"})
SLOW_SECONDS: Final = 2.0


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

    def meet(self, method: str) -> Fault:
        """The fault that a request meets; waits while requests are held or slow."""
        with self.changed:
            fault = self.fault
            if ONLY.get(fault, method) != method:
                return Fault.NONE
            self.faults += fault is not Fault.NONE
            if fault in (Fault.HELD, Fault.SLOW):
                self.wait_for_the_end(fault, SLOW_SECONDS if fault is Fault.SLOW else None)
                return Fault.NONE
        return fault

    def wait_for_the_end(self, fault: Fault, seconds: float | None = None) -> None:
        """Wait until this fault ends, or for some seconds."""
        with self.changed:
            self.changed.wait_for(lambda: self.fault is not fault, seconds)

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
        fault = self.proxy.meet(self.command)
        if fault in ANSWERS:
            status, code = ANSWERS[fault]
            self._answer(status, {}, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())
        else:
            self._forward(body, fault)

    do_GET = handle_any  # noqa: N815 - the names of the base class
    do_PUT = handle_any  # noqa: N815
    do_POST = handle_any  # noqa: N815
    do_DELETE = handle_any  # noqa: N815
    do_HEAD = handle_any  # noqa: N815

    def _forward(self, body: bytes, fault: Fault) -> None:
        server = HTTPConnection("127.0.0.1", self.target, timeout=30)
        server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            server.putheader(name, value)  # unchanged, because they are signed
        if fault is Fault.CUT:
            server.endheaders(body[: len(body) // 2])
            server.close()
            self.close_connection = True
            return
        server.endheaders(body)
        found = server.getresponse()
        data = found.read()
        server.close()
        self._answer(found.status, dict(found.getheaders()), data, fault)

    def _answer(self, status: int, headers: dict[str, str], body: bytes, fault: Fault = Fault.NONE) -> None:
        sent = body[: len(body) // 2] if fault in (*INCOMPLETE, Fault.SHORTENED) else body
        promised = sent if fault is Fault.SHORTENED else body
        with suppress(ConnectionError):  # the client has given up
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in HOP_HEADERS:
                    self.send_header(name, value)
            # The response to HEAD has the length of the object and no body.
            length = next((value for name, value in headers.items() if name.lower() == "content-length"), None)
            is_head = self.command == "HEAD" and length is not None
            self.send_header("Content-Length", length if is_head and length else str(len(promised)))
            self.end_headers()
            self.wfile.write(sent)
            if fault in INCOMPLETE:
                self.wfile.flush()
                self.proxy.wait_for_the_end(Fault.STALLED)
                self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Log nothing."""
