"""How long the web server waits for a request on a connection."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from gevent import socket as cooperative

from limner_web.serving.request_timeouts import Connection

HEAD = b"GET / HTTP/1.1\r\n\r\n"
LONG = 60.0
spawn: Any = gevent.spawn


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The client's socket and the server's."""
    client, server = cooperative.socketpair()
    yield client, server
    client.close()
    server.close()


def read_head(connection: Connection, idle_seconds: float) -> bytes | None:
    """Read as gunicorn does; None if the time limit ended it."""
    with connection.next_request(idle_seconds):
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            part = connection.recv(100)
            if not part:
                return b""
            data += part
        return data
    return None


def test_a_connection_waits_for_its_next_request_longer_than_for_a_head(sockets: tuple[socket.socket, socket.socket]):
    client, server = sockets
    connection = Connection(server, set(), head_seconds=0.1)
    client.sendall(HEAD)
    assert read_head(connection, LONG) == HEAD
    reading = spawn(read_head, connection, LONG)
    gevent.joinall([reading], timeout=0.3)  # three times the limit of a head
    client.sendall(HEAD)
    assert reading.get(timeout=5) == HEAD


def test_a_connection_without_a_first_request_is_ended(sockets: tuple[socket.socket, socket.socket]):
    connection = Connection(sockets[1], set(), head_seconds=0.05)
    assert read_head(connection, LONG) is None


@pytest.mark.parametrize("earlier", [0, 1])
def test_a_head_that_comes_byte_by_byte_is_ended(sockets: tuple[socket.socket, socket.socket], earlier: int):
    client, server = sockets
    connection = Connection(server, set(), head_seconds=0.2)
    for _ in range(earlier):
        client.sendall(HEAD)
        assert read_head(connection, LONG) == HEAD
    reading = spawn(read_head, connection, LONG)
    began = time.monotonic()
    while not reading.ready() and time.monotonic() < began + 5:
        client.sendall(b"x")
        gevent.sleep(0.01)
    assert reading.get(timeout=0) is None


def test_an_idle_connection_is_ended_after_its_time(sockets: tuple[socket.socket, socket.socket]):
    client, server = sockets
    connection = Connection(server, set(), head_seconds=LONG)
    client.sendall(HEAD)
    assert read_head(connection, LONG) == HEAD
    assert read_head(connection, 0.05) is None


def test_ending_the_wait_ends_it_at_once_but_not_if_the_request_has_arrived(
    sockets: tuple[socket.socket, socket.socket],
):
    client, server = sockets
    waiting: set[Connection] = set()
    connection = Connection(server, waiting, head_seconds=LONG)
    for _ in range(2):
        client.sendall(HEAD)
        assert read_head(connection, LONG) == HEAD
    reading = spawn(read_head, connection, LONG)
    gevent.sleep(0)
    assert waiting == {connection}
    client.sendall(HEAD)
    connection.end_wait()
    assert reading.get(timeout=5) == HEAD
    reading = spawn(read_head, connection, LONG)
    gevent.sleep(0)
    connection.end_wait()
    assert reading.get(timeout=5) == b""
    assert waiting == set()
