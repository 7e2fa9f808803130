"""A model hub on loopback: a folder served by the protocol of the Hugging Face hub, with troubles on request."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import unquote

import pytest
from huggingface_hub import constants, hf_api

REVISION: Final = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY: Final = "someone/tiny"


@dataclass
class Hub:
    """A running hub with one repository."""

    folder: Path
    endpoint: str = ""
    gated: bool = False
    """Refuse files without the token `allowed`."""
    status: int | None = None
    """Answer everything with this status."""
    corrupted: dict[str, int] = field(default_factory=dict[str, int])
    """How often each file is still sent with a wrong byte."""
    held: threading.Event = field(default_factory=threading.Event)
    """Weights are sent once this is set."""
    sent: Counter[str] = field(default_factory=Counter[str])
    """How often each file was sent."""

    def files(self) -> Iterator[tuple[str, bytes]]:
        for file in sorted(self.folder.rglob("*")):
            if file.is_file():
                yield file.relative_to(self.folder).as_posix(), file.read_bytes()

    def entry(self, name: str, content: bytes) -> dict[str, Any]:
        git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        entry: dict[str, Any] = {"type": "file", "path": name, "size": len(content), "oid": git}
        if is_large(name):
            entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
        return entry


def is_large(name: str) -> bool:
    return name.endswith((".safetensors", ".bin", ".ckpt"))


class HubServer(ThreadingHTTPServer):
    """The HTTP server of a hub."""

    daemon_threads = True

    def __init__(self, hub: Hub) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.hub = hub


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    @property
    def hub(self) -> Hub:
        return cast("HubServer", self.server).hub

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002 - the base class's name

    def answer(self) -> None:
        hub, path = self.hub, unquote(self.path.partition("?")[0])
        api = f"/api/models/{REPOSITORY}"
        if hub.status is not None:
            self.reply(hub.status, b"{}")
        elif REPOSITORY not in path:
            self.reply(401, b"", {"X-Error-Code": "RepoNotFound"})
        elif REVISION not in path:
            self.reply(404, b"", {"X-Error-Code": "RevisionNotFound"})
        elif path == f"{api}/revision/{REVISION}":
            siblings = [{"rfilename": name} for name, _ in hub.files()]
            self.reply(200, json.dumps({"id": REPOSITORY, "sha": REVISION, "siblings": siblings}).encode())
        elif path == f"{api}/tree/{REVISION}":
            self.reply(200, json.dumps([hub.entry(name, content) for name, content in hub.files()]).encode())
        elif hub.gated and self.headers.get("Authorization") != "Bearer allowed":
            self.reply(403 if "Authorization" in self.headers else 401, b"", {"X-Error-Code": "GatedRepo"})
        else:
            self.file(path.removeprefix(f"/{REPOSITORY}/resolve/{REVISION}/"))

    def file(self, name: str) -> None:
        hub = self.hub
        content = dict(hub.files())[name]
        entry = hub.entry(name, content)
        digest = entry["lfs"]["oid"] if is_large(name) else entry["oid"]
        if self.command == "GET":
            hub.sent[name] += 1
            if is_large(name):
                hub.held.wait(30)
            if hub.corrupted.get(name):
                hub.corrupted[name] -= 1
                content = content[:-1] + bytes([content[-1] ^ 1])
        self.reply(200, content, {"X-Repo-Commit": REVISION, "ETag": f'"{digest}"', "X-Linked-Size": str(len(content))})

    def reply(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


@contextmanager
def serving(folder: Path) -> Iterator[Hub]:
    """Serve a folder as the repository `someone/tiny`."""
    hub = Hub(folder)
    hub.held.set()
    server = HubServer(hub)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def use(endpoint: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this process use a hub and a cache, as HF_ENDPOINT and HF_HUB_CACHE would if they were set at its start."""
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(hf_api.api, "endpoint", endpoint)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
