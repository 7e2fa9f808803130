"""What a response costs while its client reads slowly."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator
from typing import Any

from limner_web.serving.connection import PIECE_BYTES, SOCKET, with_timeouts


class Body:
    """A response body that tells whether it was closed."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = parts
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._parts)

    def close(self) -> None:
        self.closed = True


class SentByTheServer(Body):
    """A body that gunicorn recognizes and sends itself."""


def respond(body: Body) -> Any:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        environ = {SOCKET: ours, "wsgi.input": io.BytesIO(), "wsgi.file_wrapper": SentByTheServer}
        return with_timeouts(lambda _environ, _start: body, 5)(environ, None)


def test_a_large_body_is_sent_in_pieces_so_that_a_slow_steady_reader_is_not_cut_off():
    data = bytes(range(256)) * 400
    body = Body(b"short", data, b"")
    pieces = respond(body)
    parts = list(pieces)
    assert b"".join(parts) == b"short" + data
    assert parts[0] == b"short"
    assert max(map(len, parts)) == PIECE_BYTES
    pieces.close()
    assert body.closed


def test_a_file_is_left_to_the_server():
    body = SentByTheServer(b"x" * 100_000)
    assert respond(body) is body
