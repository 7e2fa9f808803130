"""A real HTTP server that speaks OpenAI's chat completions, well or badly, as a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = dict[str, Any] | tuple[int, bytes]
"""A message of the assistant, or a status and a body of its own."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


class LanguageServer:
    """What it was asked, and what it answers: a function of the request's body."""

    def __init__(self, answer: Callable[[dict[str, Any]], Answer]) -> None:
        self.answer = answer
        self.asked: list[dict[str, Any]] = []
        self.closing = threading.Event()
        self.trickle = 0.0
        """Seconds before each byte of an answer."""
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.asked.append(body)
                found = server.answer(body)
                status, content = found if isinstance(found, tuple) else (200, completion(found))
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                for byte in content if server.trickle else ():
                    if server.closing.wait(server.trickle):
                        return
                    self.wfile.write(bytes([byte]))
                if not server.trickle:
                    self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                return

        self._http = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def completion(message: dict[str, Any]) -> bytes:
    return json.dumps({"choices": [{"message": {"role": "assistant", **message}}]}).encode()


@contextmanager
def language_server(answer: Callable[[dict[str, Any]], Answer]) -> Iterator[LanguageServer]:
    server = LanguageServer(answer)
    try:
        yield server
    finally:
        server.stop()
