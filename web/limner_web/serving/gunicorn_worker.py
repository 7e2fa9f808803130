"""Gunicorn's worker with gevent. Connections stay open for the next request, and what gunicorn refuses before the
application sees it gets a problem document too.
"""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, Final, cast

from gunicorn.http.errors import ConfigurationProblem, LimitRequestHeaders, LimitRequestLine, ParseException
from gunicorn.workers.ggevent import GeventWorker

from limner_shared.telemetry import get_logger
from limner_web.limits import HEAD_SECONDS, IDLE_SECONDS, MAX_LINE_BYTES
from limner_web.serving.request_timeouts import Connection

log = get_logger(__name__)

_CONNECTION: Final[ContextVar[Connection]] = ContextVar("connection")
"""The connection of the current greenlet."""


class ConnectionWorker(GeventWorker):
    """Keeps connections for their next request while there is room, and answers a request that is not HTTP, or whose
    head is too large, in the form of all other errors.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._open = 0
        self._waiting: set[Connection] = set()
        self._stopping = False

    def handle(self, listener: Any, client: socket.socket, addr: Any) -> None:
        """Serve a connection's requests, one after the other."""
        connection = Connection(client, self._waiting, HEAD_SECONDS)
        _CONNECTION.set(connection)
        self._open += 1
        try:
            super().handle(listener, cast("Any", connection), addr)
        finally:
            self._open -= 1

    def timeout_ctx(self) -> Any:  # in gunicorn it seems to return nothing
        """Limit the wait for the next request of the current connection."""
        is_full = self._open > self.worker_connections / 2
        return _CONNECTION.get().next_request(HEAD_SECONDS if is_full or not self.alive else IDLE_SECONDS)

    def notify(self) -> None:
        """Tell gunicorn each second that the process runs. One second after it was told to stop, close connections that
        wait: until then, a client may be sending its next request.
        """
        super().notify()
        for connection in list(self._waiting) if self._stopping else ():
            connection.end_wait()
        self._stopping = not self.alive

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Answer a request that gunicorn could not read."""
        if not isinstance(exc, ParseException) or isinstance(exc, ConfigurationProblem):
            super().handle_error(req, client, addr, exc)
            return
        status, code, title, detail = _refusal(exc)
        log.info("request refused before it was read", code=code)
        body = json.dumps(
            {"type": f"urn:limner:{code}", "title": title, "status": status, "detail": detail, "code": code}
        )
        head = (
            f"HTTP/1.1 {status} {title}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        with suppress(OSError):  # the client is gone
            client.sendall((head + body).encode())


def _refusal(error: ParseException) -> tuple[int, str, str, str]:
    """The status, the code, the title and the detail of the answer."""
    if isinstance(error, LimitRequestLine):
        detail = f"The method, path and query may have {MAX_LINE_BYTES} bytes together. Shorten the query."
        return 414, "uri_too_long", "URI Too Long", detail
    if isinstance(error, LimitRequestHeaders):
        detail = f"A header may have {MAX_LINE_BYTES} bytes, and a request 100 headers. Send fewer, or shorter ones."
        return 431, "headers_too_large", "Request Header Fields Too Large", detail
    return 400, "malformed_request", "Bad Request", "The request is not valid HTTP/1.1. Check what made it."
