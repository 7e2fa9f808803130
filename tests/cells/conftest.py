"""Two real cells, each with its own database, Valkey, web server, dispatcher and worker, behind a real HAProxy."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import httpx
import pytest

from limner_client.client import Client
from limner_client.local.embedded_valkey import free_port
from limner_client.local.stack import Stack
from limner_client.operations.cells import Cell, Cells
from limner_client.operations.front_door import configuration
from limner_shared.db.accounts import keys
from limner_shared.db.engine import Database
from limner_shared.settings import Settings
from tests.conftest import create_database
from tests.processes import eventually

NULL_CARD = Path(__file__).parents[1] / "models" / "null.toml"
MAX_CONNECTIONS = 300
"""So that a cell's share is 75."""
HAPROXY = shutil.which("haproxy")


class Hung(ThreadingHTTPServer):
    """A web server that is healthy and answers nothing else until it is released."""

    daemon_threads = True
    request_queue_size = MAX_CONNECTIONS

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Silent)
        self.released = threading.Event()


class Silent(BaseHTTPRequestHandler):
    """Holds a request."""

    def do_GET(self) -> None:
        if self.path != "/healthz":
            cast("Hung", self.server).released.wait()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as its base has it
        """Print nothing."""


@contextmanager
def hung_server() -> Iterator[Hung]:
    """Such a server, in a thread of its own."""
    with Hung() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


@dataclass
class Place:
    """Two cells and their front door."""

    url: str
    cells: dict[str, Stack]
    hung: Hung

    def key(self, cell: str, *, tenant: str = "", tag: bool = True, scopes: tuple[str, ...] = ()) -> str:
        """A new key of a tenant in a cell; without a tag it is as keys were before there were cells."""
        database = Database(self.cells[cell].settings.resolved_database_url)
        with database.write() as session:
            name = tenant or secrets.token_hex(4)
            made = keys.create(session, name, "test", scopes=scopes, cell=cell if tag else "")
        database.dispose()
        return made

    def client(self, key: str) -> Client:
        """Our client at the front door."""
        return Client(self.url, key)

    def http(self, **headers: str) -> httpx.Client:
        """A plain client at the front door."""
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=20)

    def status(self, key: str) -> int:
        """The status of the simplest request."""
        with self.http(Authorization=f"Bearer {key}") as http:
            return http.get("/api/v1/jobs").status_code

    def kill(self, cell: str) -> None:
        """Kill every process of a cell at once."""
        stack = self.cells[cell]
        for child in [*(service.child for service in stack.services), stack._valkey and stack._valkey.child]:
            if child is not None:
                child.kill()

    def revive(self, cell: str, key: str) -> None:
        """Start a killed cell again, and wait until it answers at the front door."""

        def answers() -> bool:
            self.cells[cell].restart_dead()
            return self.status(key) == 200

        eventually(answers, 60, every=0.2)

    def signal_web(self, cell: str, number: signal.Signals) -> None:
        """Send a signal to all web processes of a cell."""
        child = self.cells[cell].services[0].child
        assert child is not None
        os.killpg(child.pid, number)


@pytest.fixture(scope="session")
def place(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """`a`, with PostgreSQL, `b`, with SQLite, and `c`, which hangs. Keys that name no cell are those of `a`."""
    if HAPROXY is None:
        pytest.skip("haproxy is not installed: make cells")
    folder = tmp_path_factory.mktemp("cells")
    door_port, ports = free_port(), {"a": free_port(), "b": free_port()}
    stacks = {name: stack(name, port, door_port, folder) for name, port in ports.items()}
    stacks["a"].settings = stacks["a"].settings.model_copy(update={"database_url": create_database(postgres)})
    with hung_server() as hung:
        described = Cells(
            listen=(f"127.0.0.1:{door_port}",),
            default_cell="a",
            max_connections=MAX_CONNECTIONS,
            cells={
                name: Cell(servers=(f"127.0.0.1:{port}",))
                for name, port in (ports | {"c": hung.server_address[1]}).items()
            },
        )
        file = folder / "haproxy.cfg"
        file.write_text(configuration(described))
        with (folder / "haproxy.log").open("wb") as log:
            door = subprocess.Popen([HAPROXY, "-db", "-f", str(file)], stdout=log, stderr=subprocess.STDOUT)
        try:
            for each in stacks.values():
                each.start()
            made = Place(f"http://127.0.0.1:{door_port}", stacks, hung)
            eventually(lambda: all(made.status(made.key(name)) == 200 for name in stacks), 20, every=0.2)
            yield made
        finally:
            door.kill()
            door.wait()
            for each in stacks.values():
                each.stop()


def stack(name: str, port: int, door_port: int, folder: Path) -> Stack:
    """A cell with the null model."""
    settings = Settings(
        data_dir=folder / name,
        port=port,
        cell=name,
        require_keys=True,
        public_url=f"http://127.0.0.1:{door_port}",
        web_workers=1,
        models=(NULL_CARD,),
        default_model="null",
        interpreter="off",
        shutdown_seconds=0,
    )
    return Stack(settings, workers=1, log_dir=folder / f"{name}-logs", tell=lambda _name, _line: None)
