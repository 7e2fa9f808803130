"""What a response costs while its client reads slowly, and when a body that arrives slowly is given up."""

from __future__ import annotations

import io
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from tests.clocks import Clock

from limner_shared.errors import RequestTimeout
from limner_web.serving import connection
from limner_web.serving.connection import PIECE_BYTES, READ_BYTES, SOCKET, TimedBody, with_timeouts


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


def test_a_body_that_arrives_steadily_but_slowly_is_ended_after_an_hour(monkeypatch: pytest.MonkeyPatch):
    clock = Clock()
    monkeypatch.setattr(connection, "time", SimpleNamespace(monotonic=clock), raising=False)

    class Slow(io.BytesIO):
        """Each read takes four seconds."""

        def read(self, size: int | None = -1, /) -> bytes:
            clock.now += 4
            return bytes(size or 0)

    body = TimedBody(Slow(), 5)
    for _ in range(900):
        body.read(READ_BYTES)
        clock.now += 60  # what the server does with it does not count
    with pytest.raises(RequestTimeout, match="within 3600 s"):
        body.read(READ_BYTES)
