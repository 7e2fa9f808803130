"""How long a connection may wait for a request: for all of its head, and idle before it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

import gevent
from gevent import monkey


class Connection:
    """A client's socket that ends the wait for a request whose head comes too slowly, or not at all.

    Gunicorn has one timeout for both. A short one closes connections that clients keep for their next request, which
    fails if it is sent at that moment; with a long one, clients that send a head byte by byte fill the server.
    """

    def __init__(self, client: socket.socket, waiting: set[Connection], head_seconds: float) -> None:
        """`waiting` has the connections on which nothing of the next request has arrived."""
        self._client = client
        self._waiting = waiting
        self._head_seconds = head_seconds
        self._head = gevent.Timeout()
        self._used = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Receive bytes. The first ones of a request start the time limit of its head."""
        data = self._client.recv(size, flags)
        if self in self._waiting:
            self._waiting.discard(self)
            self._head.start()
        return data

    @contextmanager
    def next_request(self, idle_seconds: float) -> Iterator[None]:
        """Wait for the head of a request; leaves the block early, without an error, when its time is over.

        The first head must be complete within the head's time limit. A later one may be waited for `idle_seconds`.
        """
        idle = gevent.Timeout(idle_seconds if self._used else self._head_seconds)
        self._head = gevent.Timeout(self._head_seconds)
        self._client.settimeout(None)  # the one for responses would end the wait with an error
        if self._used:
            self._waiting.add(self)
        self._used = True
        try:
            with idle:
                yield
        except gevent.Timeout as timeout:
            if timeout not in (idle, self._head):
                raise
        finally:
            self._head.close()
            self._waiting.discard(self)

    def end_wait(self) -> None:
        """End the wait for the next request, unless it has arrived."""
        # gevent's own method raises an error in the greenlet that waits, and what has arrived would be lost.
        system_socket = cast("type[socket.socket]", monkey.get_original("socket", "socket"))
        with suppress(OSError), system_socket(fileno=os.dup(self._client.fileno())) as same:
            try:
                same.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except BlockingIOError:
                same.shutdown(socket.SHUT_RD)  # not if bytes are there: it would look as if the client hung up
