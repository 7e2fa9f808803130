"""A real HTTP server with OpenAI's chat completions API; a test sets its correct or wrong answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = dict[str, Any] | tuple[int, bytes]
"""An assistant message, or an HTTP status and a raw body."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


class FakeLLM:
    """Records the request bodies in `asked`; `answer` computes each answer from the request body."""

    def __init__(self, answer: Callable[[dict[str, Any]], Answer]) -> None:
        self.answer: Callable[[dict[str, Any]], Answer] = answer
        self.asked: list[dict[str, Any]] = []
        self.closing = threading.Event()
        self.keys: set[str] | None = None
        """The API keys that it accepts; None: any, or none."""
        self.trickle = 0.0
        """Delay before each byte of an answer, in seconds; 0 sends the answer at once."""
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.asked.append(body)
                key = self.headers.get("Authorization", "").removeprefix("Bearer ")
                refused = server.keys is not None and key not in server.keys
                found = (401, b'{"error": "invalid_api_key"}') if refused else server.answer(body)
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

            def log_message(self, *_: Any, **__: Any) -> None:
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
def fake_llm(answer: Callable[[dict[str, Any]], Answer]) -> Iterator[FakeLLM]:
    server = FakeLLM(answer)
    try:
        yield server
    finally:
        server.stop()
