"""The client's connection: timeouts for slow senders and readers, and a check whether the client has hung up."""

from __future__ import annotations

import select
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Final, Protocol, cast

import gevent
from flask import request
from gevent import monkey

from limner_shared.errors import RequestTimeout
from limner_web.limits import BODY_SECONDS, SEND_SECONDS, UNSENT_BYTES

READ_BYTES: Final = 64 << 10
PIECE_BYTES: Final = 16 << 10
SOCKET: Final = "gunicorn.socket"
UNSENT_OPTION: Final[int | None] = getattr(socket, "TCP_NOTSENT_LOWAT", None)
HUNG_UP: Final = getattr(select, "POLLRDHUP", 0)
"""Linux reports when the peer has closed; on other systems this shows only at the next write."""

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


class _Body(Protocol):
    def read(self, size: int, /) -> bytes: ...


class TimedBody:
    """A request body of which each 64 KiB must arrive within `seconds`, which ends silent and very slow senders.

    All of it must arrive within BODY_SECONDS, of which only the time of waiting for the client counts.
    """

    def __init__(self, body: _Body, seconds: float) -> None:
        self._body = body
        self._seconds = seconds
        self._waited = 0.0

    def read(self, size: int = -1, /) -> bytes:
        """Read `size` bytes, fewer only at the end of the body, or all if `size` is negative. Raises RequestTimeout."""
        parts: list[bytes] = []
        left = size if size >= 0 else sys.maxsize
        while left and (part := self._read(min(left, READ_BYTES))):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def _read(self, size: int) -> bytes:
        begun = time.monotonic()
        with gevent.Timeout(self._seconds, RequestTimeout(retry_after=1)):
            part = self._body.read(size)
        self._waited += time.monotonic() - begun
        if self._waited > BODY_SECONDS:
            raise RequestTimeout(f"A body must arrive within {BODY_SECONDS} s: split it into several.", retry_after=1)
        return part


class _Pieces:
    """A response body in pieces of at most 16 KiB. The socket's timeout is for one piece: it would end a large one that
    a slow client reads steadily.
    """

    def __init__(self, body: Iterable[bytes]) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        for part in self._body:
            if len(part) <= PIECE_BYTES:
                yield part
            else:
                yield from (part[start : start + PIECE_BYTES] for start in range(0, len(part), PIECE_BYTES))

    def close(self) -> None:
        """Close the body, as WSGI demands."""
        close = getattr(self._body, "close", None)
        if close is not None:
            close()


def with_timeouts(application: Wsgi, seconds: float) -> Wsgi:
    """Wrap a WSGI application with timeouts for slow clients. Works only under gunicorn, which passes the socket."""

    def call(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        connection = cast("socket.socket | None", environ.get(SOCKET))
        if connection is None:
            return application(environ, start_response)
        connection.settimeout(SEND_SECONDS)
        _limit_unsent(connection)
        environ["wsgi.input"] = TimedBody(environ["wsgi.input"], seconds)
        body = application(environ, start_response)
        # gunicorn sends a file by itself, if it gets this very object.
        return body if isinstance(body, environ["wsgi.file_wrapper"]) else _Pieces(body)

    return call


def _limit_unsent(connection: socket.socket) -> None:
    """Limit what the system keeps for a client that does not read, where it can: otherwise it takes megabytes, and a
    slow reader costs as much as a fast one.
    """
    if UNSENT_OPTION is not None:
        with suppress(OSError):  # not TCP
            connection.setsockopt(socket.IPPROTO_TCP, UNSENT_OPTION, UNSENT_BYTES)


def hang_up_check() -> Callable[[], bool]:
    """Return a function that tells, without waiting, whether this request's client has closed its connection."""
    connection = cast("socket.socket | None", request.environ.get(SOCKET))
    if connection is None:
        return lambda: False
    poll = cast("Callable[[], select.poll]", monkey.get_original("select", "poll"))()
    poll.register(connection.fileno(), HUNG_UP)
    return lambda: bool(poll.poll(0))
