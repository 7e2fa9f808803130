"""The client's connection: how slowly it may send and read, and whether the client is still there."""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol, cast

import gevent
from flask import request
from gevent import monkey

from limner_shared.errors import RequestTimeout

READ_BYTES: Final = 64 << 10
SEND_SECONDS: Final = 60.0
"""For so long a client may take nothing of what is sent to it."""
SOCKET: Final = "gunicorn.socket"
HUNG_UP: Final = getattr(select, "POLLRDHUP", 0)
"""Linux says when the other side has closed; elsewhere a client that has hung up is noticed when it is written to."""

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


class _Body(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Paced:
    """A request's body of which each 64 KiB must come within `seconds`: a silent or dripping sender is ended."""

    def __init__(self, body: _Body, seconds: float) -> None:
        self._body = body
        self._seconds = seconds

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes, fewer only at the end. Raises RequestTimeout."""
        parts: list[bytes] = []
        left = size if size >= 0 else sys.maxsize
        while left and (part := self._read(min(left, READ_BYTES))):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def _read(self, size: int) -> bytes:
        with gevent.Timeout(self._seconds, RequestTimeout(retry_after=1)):
            return self._body.read(size)


def paced(application: Wsgi, seconds: float) -> Wsgi:
    """A WSGI application whose clients must send and read. Only under gunicorn: nothing else gives us the socket."""

    def call(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        connection = cast("socket.socket | None", environ.get(SOCKET))
        if connection is not None:
            connection.settimeout(SEND_SECONDS)
            environ["wsgi.input"] = Paced(environ["wsgi.input"], seconds)
        return application(environ, start_response)

    return call


def hang_up_check() -> Callable[[], bool]:
    """A function that tells whether this request's client has closed its connection. It never waits."""
    connection = cast("socket.socket | None", request.environ.get(SOCKET))
    if connection is None:
        return lambda: False
    poll = cast("Callable[[], select.poll]", monkey.get_original("select", "poll"))()
    poll.register(connection.fileno(), HUNG_UP)
    return lambda: bool(poll.poll(0))
