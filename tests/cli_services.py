"""The command line as a process, and a small HTTP service that answers it."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from click.testing import CliRunner, Result

from limner_client.cli.main import cli

PICTURE = b"\x89PNG not really"


def run(*words: str, **environment: str) -> Result:
    return CliRunner(env={f"LIMNER_{name.upper()}": value for name, value in environment.items()}).invoke(cli, words)


WHEN = "2026-01-01T00:00:00Z"


class FakeServer:
    """A real HTTP server with the native API's paths; a test can set its responses, and it records the requests."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.bodies: list[bytes] = []
        self.prompt = "a red apple"
        self.job_problems: list[tuple[int, dict[str, Any]]] = []
        self.queries = ""
        self.damaged = False
        self.lost = ""
        """The path of an image that is no longer stored."""
        self.refusals = 0
        """How many requests for images are refused because a limit of the tenant is reached."""
        self.limit_seconds = 0.01
        """After how many seconds such a request may be repeated."""
        errors = [{"line": line, "field": "prompt", "message": "prompt: bad."} for line in range(1, 13)]
        self.bad_lines: dict[str, Any] = {"status": 422, "title": "Invalid", "code": "invalid_bulk", "errors": errors}
        self.bad_lines |= {"detail": "12 lines of 14 cannot be accepted.", "bad_lines": 12}
        self.job_state = "succeeded"
        self.existing = False
        self.recognition: dict[str, Any] | None = None
        """Whether a submission finds an earlier job that holds its unique key."""
        self.dead_letters = 1
        self.retried_at_once = 1
        self.waiting = 0
        self.canceled_at_once = 1
        self.canceled = 0
        self.stopped = False
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                fake.answer(self, b"")

            def do_POST(self) -> None:
                body = b""
                if self.headers.get("Transfer-Encoding") == "chunked":
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                else:
                    body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                fake.answer(self, body)

            do_PUT = do_DELETE = do_POST  # noqa: N815 - the server's names

            def log_message(self, *_: Any, **__: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def job(self, line: int | None = None) -> dict[str, Any]:
        digest = hashlib.sha256(PICTURE).hexdigest()
        image = {"id": "img_1", "url": f"/images/{line}", "sha256": digest, "width": 64, "height": 64, "seed": 7}
        view: dict[str, Any] = {
            "id": "job_1",
            "status": self.job_state,
            "model": "m",
            "prompt": self.prompt,
            "style": None,
        }
        view |= {"version": 2, "negative_prompt": "", "priority": "normal", "metadata": {}, "bulk": None, "links": {}}
        view |= {"position": None, "progress": None, "created_at": WHEN, "started_at": WHEN, "finished_at": WHEN}
        view |= {"width": 64, "height": 64, "steps": 4, "guidance": 3.0, "seed": 7, "n": 1, "line": line}
        view["images"] = [image | {"media_type": "image/png", "bytes": len(PICTURE), "recognition": self.recognition}]
        view["error"] = {"code": "storage_full", "message": "The disk is full.", "retryable": False}
        return view | ({} if self.job_state == "failed" else {"error": None})

    def of_jobs(self, method: str, body: bytes) -> tuple[int, dict[str, Any]]:
        problem = {"status": 422, "title": "Invalid", "code": "invalid_request", "detail": "style: 'x' is not allowed."}
        if method == "GET":
            return 200, {"items": [self.job()], "next": None}
        return (422, problem) if b'"x"' in body else (202, self.job() | {"existing": self.existing})

    def of_retry(self) -> tuple[int, dict[str, Any]]:
        """One request retries some of the dead letters; the ids of the new jobs are counted."""
        left, self.dead_letters = self.dead_letters, max(0, self.dead_letters - self.retried_at_once)
        return 202, {"jobs": [f"job_again_{number}" for number in range(left, self.dead_letters, -1)]}

    def of_cancel(self) -> tuple[int, dict[str, Any]]:
        """One request cancels some of the jobs that wait, and so does each look at the cancellation."""
        waited = self.waiting
        self.canceled += min(waited, self.canceled_at_once)
        self.waiting -= min(waited, self.canceled_at_once)
        answer = {"canceled": self.canceled if waited else 0, "more": self.waiting > 0}
        return 200, answer | {"cancellation": "cancel_1" if waited else None}

    def cancellation(self) -> dict[str, Any]:
        """The cancellation, of which another look will find more."""
        status = "stopped" if self.stopped else "running" if self.waiting else "finished"
        view = {"id": "cancel_1", "model": "limner-gan", "priority": "low", "status": status}
        view |= {"canceled": self.canceled, "ordered_at": WHEN}
        if not self.stopped:
            self.of_cancel()
        return view

    def of_cancellations(self, path: str) -> tuple[int, dict[str, Any]]:
        """The cancellation, the list of it if it runs, or what is left of it when it is stopped."""
        self.stopped |= path.endswith("/stop")
        if path.endswith("s"):
            return 200, {"items": [self.cancellation()] if self.waiting else []}
        return 200, self.cancellation()

    def of_pause(self, method: str) -> tuple[int, dict[str, Any]]:
        """A pause is answered with it; its end with the operator's."""
        own = {"what": "tenant", "own": True, "reason": "lunch", "since": WHEN, "until": "2026-12-24T18:00:00Z"}
        operators = {"what": "tenant", "reason": "unpaid", "since": WHEN, "until": None}
        return 200, {"own": own if method == "PUT" else None, "operator": operators if method == "DELETE" else None}

    def answer(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        path = handler.path.removeprefix("/api/v1").split("?")[0]
        self.asked.append(f"{handler.command} {path}")
        self.bodies.append(body)
        self.queries += handler.path.partition("?")[2]
        bulk: dict[str, Any] = {"created_at": WHEN, "links": {}}
        bulk |= {"id": "bulk_1", "total": 2, "status": "done", "counts": {"succeeded": 2}}
        bulk |= {
            "skipped": {"count": 12, "errors": self.bad_lines["errors"]} if "on_error=skip" in self.queries else None
        }
        answers: dict[str, tuple[int, Any]] = {
            "/jobs": self.of_jobs(handler.command, body),
            "/jobs/job_1": (200, self.job()) if not self.job_problems else self.job_problems[0],
            "/jobs/job_1/cancel": (200, self.job() | {"status": "canceled"}),
            "/pause": self.of_pause(handler.command),
            "/models": (200, {"items": []}),
            "/bulks/bulk_1/pause": (200, bulk | {"status": "paused"}),
            "/bulks/bulk_1/resume": (200, bulk | {"status": "running"}),
            "/bulks": (422, self.bad_lines) if b"bad" in body and "on_error=skip" not in handler.path else (202, bulk),
            "/bulks/bulk_1": (200, bulk),
            "/bulks/bulk_1/results": (200, "".join(json.dumps(self.job(line)) + "\n" for line in (1, 2)).encode()),
        }
        if path == "/jobs/job_1":
            self.job_problems = self.job_problems[1:]
        if path == "/bulks" and handler.command == "GET":
            answers[path] = 200, {"items": [bulk], "next": None}
        if path == "/jobs/retry":
            answers[path] = self.of_retry()
        if path == "/jobs/cancel":
            answers[path] = self.of_cancel()
        if path.startswith("/cancellations"):
            answers[path] = self.of_cancellations(path)
        status, data = answers.get(path, (200, b"damaged" if self.damaged else PICTURE))
        if path == self.lost:
            status, data = 404, {"status": 404, "title": "Not found", "code": "not_found", "detail": "Image not found."}
        if path.startswith("/images/") and self.refusals:
            self.refusals -= 1
            refused = {"status": 429, "title": "Limit reached", "code": "limit_reached", "detail": "Too many."}
            status, data = 429, refused | {"retry_after": self.limit_seconds}
        sent = data if isinstance(data, bytes) else json.dumps(data).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(sent)))
        handler.end_headers()
        handler.wfile.write(sent)


@pytest.fixture
def fake_server() -> Iterator[FakeServer]:
    server = FakeServer()
    yield server
    server.server.shutdown()
    server.server.server_close()
