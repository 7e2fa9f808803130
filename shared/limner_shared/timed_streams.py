"""Network connections whose every operation ends at a deadline, however slowly the other side sends: the time limits of
httpx and httpcore are for each operation, so a byte a second never meets one.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore


class TimedStream(httpcore.NetworkStream):
    """A connection with a deadline, by the monotonic clock; it may change from one request to the next."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Callable[[], float]) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read some bytes. Raises httpcore.ReadTimeout at the deadline."""
        return self._stream.read(max_bytes, time_left(self._deadline, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all bytes. Raises httpcore.WriteTimeout at the deadline."""
        self._stream.write(buffer, time_left(self._deadline, httpcore.WriteTimeout))

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Begin TLS. Raises httpcore.ConnectTimeout at the deadline."""
        left = time_left(self._deadline, httpcore.ConnectTimeout)
        return TimedStream(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        """What httpcore asks about the connection."""
        return self._stream.get_extra_info(info)


class TimedBackend(httpcore.NetworkBackend):
    """Makes connections with a deadline."""

    def __init__(self, deadline: Callable[[], float]) -> None:
        self._deadline = deadline
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect. Raises httpcore.ConnectError, and httpcore.ConnectTimeout at the deadline."""
        left = time_left(self._deadline, httpcore.ConnectTimeout)
        stream = self._backend.connect_tcp(host, port, left, local_address, socket_options)
        return TimedStream(stream, self._deadline)


def time_left(deadline: Callable[[], float], over: type[Exception]) -> float:
    """The seconds until a deadline. Raises `over` when it has passed."""
    left = deadline() - time.monotonic()
    if left <= 0:
        raise over("the time of this request is over")
    return left
