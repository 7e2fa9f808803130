"""A TCP proxy for PostgreSQL that can drop the response to a COMMIT: it is committed, but the client does not know."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

from sqlalchemy import make_url

COMMIT = b"COMMIT"


class Proxy:
    """Forwards connections. `to_drop` is the number of COMMIT responses still to drop, `dropped` those dropped."""

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
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = self._connect()
            dropping = threading.Event()
            threading.Thread(target=self._pump, args=(client, server, dropping, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, dropping, False), daemon=True).start()

    def _connect(self) -> socket.socket:
        host, port = self._target
        if host.startswith("/"):
            server = socket.socket(socket.AF_UNIX)
            server.connect(f"{host}/.s.PGSQL.{port}")
            return server
        return socket.create_connection((host, port))

    def _pump(self, source: socket.socket, to: socket.socket, dropping: threading.Event, upward: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if upward and self.to_drop and COMMIT in data:
                    self.to_drop -= 1
                    dropping.set()
                if not upward and dropping.is_set():
                    self.dropped += 1
                    break
                to.sendall(data)
        for end in (source, to):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
