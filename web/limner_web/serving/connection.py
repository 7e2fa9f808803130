"""The client's connection: timeouts for slow senders and readers, and a check whether the client has hung up."""

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
from limner_web.limits import SEND_SECONDS

READ_BYTES: Final = 64 << 10
SOCKET: Final = "gunicorn.socket"
HUNG_UP: Final = getattr(select, "POLLRDHUP", 0)
"""Linux reports when the peer has closed; on other systems this shows only at the next write."""

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


class _Body(Protocol):
    def read(self, size: int, /) -> bytes: ...


class TimedBody:
    """A request body of which each 64 KiB must arrive within `seconds`, which ends silent and very slow senders."""

    def __init__(self, body: _Body, seconds: float) -> None:
        self._body = body
        self._seconds = seconds

    def read(self, size: int = -1, /) -> bytes:
        """Read `size` bytes, fewer only at the end of the body, or all if `size` is negative. Raises RequestTimeout."""
        parts: list[bytes] = []
        left = size if size >= 0 else sys.maxsize
        while left and (part := self._read(min(left, READ_BYTES))):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def _read(self, size: int) -> bytes:
        with gevent.Timeout(self._seconds, RequestTimeout(retry_after=1)):
            return self._body.read(size)


def with_timeouts(application: Wsgi, seconds: float) -> Wsgi:
    """Wrap a WSGI application with timeouts for slow clients. Works only under gunicorn, which passes the socket."""

    def call(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        connection = cast("socket.socket | None", environ.get(SOCKET))
        if connection is not None:
            connection.settimeout(SEND_SECONDS)
            environ["wsgi.input"] = TimedBody(environ["wsgi.input"], seconds)
        return application(environ, start_response)

    return call


def hang_up_check() -> Callable[[], bool]:
    """Return a function that tells, without waiting, whether this request's client has closed its connection."""
    connection = cast("socket.socket | None", request.environ.get(SOCKET))
    if connection is None:
        return lambda: False
    poll = cast("Callable[[], select.poll]", monkey.get_original("select", "poll"))()
    poll.register(connection.fileno(), HUNG_UP)
    return lambda: bool(poll.poll(0))
