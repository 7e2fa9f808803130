"""A TCP proxy for PostgreSQL or Redis: a test can drop the response to a COMMIT, or make the server unreachable."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Final

from sqlalchemy import make_url

COMMIT: Final = b"COMMIT"
UP: Final = "up"
"""The direction from the client to the server; the other one is DOWN."""
DOWN: Final = "down"


class Proxy:
    """Forwards connections.

    `to_drop` is the number of COMMIT responses still to drop, after which the transaction is committed but its client
    does not know it; `dropped` is the number dropped.
    """

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        host = parsed.query.get("host") or parsed.host or "127.0.0.1"
        self._target = (str(host), parsed.port or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = str(
            parsed.set(host="127.0.0.1", port=self._listener.getsockname()[1], query={}).render_as_string(False)
        )
        self.to_drop = 0
        self.dropped = 0
        self._connections: set[socket.socket] = set()
        self._refusing = False
        self._forwarding = {way: threading.Event() for way in (UP, DOWN)}
        self.restore()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def refuse(self) -> None:
        """Close all connections and each new one, as a database that is down."""
        self._refusing = True
        for connection in list(self._connections):
            _close(connection)

    def freeze(self) -> None:
        """Keep connections open but forward no bytes, as a database that is frozen."""
        self.cut(UP)
        self.cut(DOWN)

    def cut(self, way: str) -> None:
        """Keep connections open but forward no bytes in one direction, as a network that is broken on one side."""
        self._forwarding[way].clear()

    def restore(self) -> None:
        """End `refuse`, `freeze` and `cut`; the bytes that were held are forwarded."""
        self._refusing = False
        for forwarding in self._forwarding.values():
            forwarding.set()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing:
                _close(client)
                continue
            try:
                server = self._connect()
            except OSError:
                _close(client)  # the server itself is down
                continue
            self._connections |= {client, server}
            dropping = threading.Event()
            threading.Thread(target=self._pump, args=(client, server, dropping, UP), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, dropping, DOWN), daemon=True).start()

    def _connect(self) -> socket.socket:
        host, port = self._target
        if host.startswith("/"):
            server = socket.socket(socket.AF_UNIX)
            server.connect(f"{host}/.s.PGSQL.{port}")
            return server
        return socket.create_connection((host, port))

    def _pump(self, source: socket.socket, to: socket.socket, dropping: threading.Event, way: str) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self._forwarding[way].wait()
                if way == UP and self.to_drop and COMMIT in data:
                    self.to_drop -= 1
                    dropping.set()
                if way == DOWN and dropping.is_set():
                    self.dropped += 1
                    break
                to.sendall(data)
        for end in (source, to):
            self._connections.discard(end)
            _close(end)


def _close(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
