"""Real receivers of webhooks on loopback: they answer, refuse or hang as a test says, and keep what arrived."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Request:
    """A request that arrived; the names of headers are in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        return json.loads(self.body)


@dataclass
class Answer:
    """What a receiver answers."""

    status: int = 200
    body: bytes = b"ok"
    headers: dict[str, str] = field(default_factory=dict[str, str])


def failure(status: int, body: bytes = b"", **headers: str) -> Answer:
    """A failure after which the delivery is not repeated by itself during a test."""
    return Answer(status, body, {"Retry-After": "600", **headers})


@dataclass
class Receiver:
    """A receiver; `answer` is called with each request, and may wait."""

    url: str
    requests: list[Request]
    answer: Callable[[Request], Answer]
    released: threading.Event
    server_names: list[str | None] = field(default_factory=list[str | None])

    def hang(self, _request: Request) -> Answer:
        """An answer that does not come before the receiver ends."""
        self.released.wait(60)
        return Answer()


@contextmanager
def receiver(
    answer: Callable[[Request], Answer] | None = None,
    *,
    certificate: tuple[str, str] | None = None,
    port: int = 0,
) -> Iterator[Receiver]:
    """Run a receiver, on a free port for 0; with a certificate and key it speaks TLS."""
    state = Receiver("", [], answer or (lambda _request: Answer()), threading.Event())

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            request = Request(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            state.requests.append(request)
            reply = state.answer(request)
            try:
                self.send_response(reply.status)
                for name, value in ({"Content-Length": str(len(reply.body))} | reply.headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body)
            except OSError:
                return  # the sender has gone

        def log_message(self, *_: Any, **__: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any, **__: Any) -> None:
            pass

    server = Server(("127.0.0.1", port), Handler)
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        context.sni_callback = lambda _socket, name, _context: state.server_names.append(name)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    state.url = f"{scheme}://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.released.set()
        server.shutdown()
        server.server_close()
        thread.join(10)


@contextmanager
def raw_server(reply: bytes, *, then_hang: bool = False) -> Iterator[str]:
    """A server that sends these bytes, whatever it is sent; `then_hang` keeps the connection open. Yields its URL."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.05)

        def serve() -> None:
            while not ended.is_set():
                try:
                    connection, _ = listening.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.settimeout(5)
                    try:
                        connection.recv(65536)
                        connection.sendall(reply)
                        if then_hang:
                            ended.wait(60)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/hook"
        finally:
            ended.set()
            thread.join(10)
