"""A web process stays responsive while clients wait, disconnect, send nothing or request expensive work."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import httpx
import psutil
import pytest
from bench.tour_doors import LEFT_OUT, every_route
from sqlalchemy import text

from limner_client.local.embedded_valkey import free_port
from limner_shared.db import ledger
from limner_shared.db.accounts import keys
from limner_shared.db.engine import Database
from limner_shared.db.ledger import NewImage
from limner_shared.messaging.hints import JOB_CHANNEL, Hints, connect
from limner_web.http.route_rules import ROUTES
from tests.distributed.every_route import load_the_loop, touring
from tests.distributed.loop_monitor import MARK
from tests.models import CANVAS
from tests.processes import COMMAND, Service, eventually
from tests.redis_clients import redis_at

pytestmark = pytest.mark.long

JOB = {"prompt": "a red apple"}
CARD = """
name = "painter"
title = "Painter"
family = "null"
source = { folder = "." }
sizes = [[64, 64]]
tasks = ["text-to-image", "image-to-image", "inpainting"]
steps = { min = 1, max = 50, default = 3 }
guidance = { min = 0.0, max = 20.0, default = 7.5 }
"""
EVERY_REQUEST = ("/connection.py:call", "/operator_port.py:call")
"""The functions of Limner through which each request passes."""
postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class Web:
    """One web process of a service, and its clients."""

    def __init__(self, service: Service, module: str = COMMAND, **changes: Any) -> None:
        """`module` runs the command."""
        self.service = service
        card = service.folder / "painter.toml"
        card.write_text(CARD)
        service.change_settings({"port": free_port(), "web_workers": 1, "models": (card,)} | changes)
        self.process = service.start("serve", module=module)
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{service.settings.port}", timeout=20, trust_env=False)
        eventually(self._responds)

    def _responds(self) -> bool:
        assert self.process.poll() is None, self.service.logs()
        try:
            return self.client.get("/healthz").is_success
        except httpx.TransportError:
            return False

    def send(self, head: str, body: bytes = b"", *, key: str = "") -> socket.socket:
        """Send a raw request, complete or not, and return its connection."""
        connection = socket.create_connection(("127.0.0.1", self.service.settings.port), timeout=20)
        lines = [head, "Host: localhost", *([f"Authorization: Bearer {key}"] if key else [])]
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        return connection

    def held(self, kind: str) -> int:
        return self.client.get("/readyz").json()["load"][kind]["held"]

    def submit(self) -> str:
        return self.client.post("/api/v1/jobs", json=JOB).raise_for_status().json()["id"]

    def close(self) -> None:
        self.client.close()


@pytest.fixture
def stack(service: Service) -> Iterator[ExitStack]:
    """Closes resources of a test at its end."""
    with ExitStack() as stack:
        yield stack


def serve(service: Service, stack: ExitStack, module: str = COMMAND, **changes: Any) -> Web:
    return stack.enter_context(closing(Web(service, module, **changes)))


def chat(web: Web, said: str, *, stream: bool = False) -> socket.socket:
    body = json.dumps({"messages": [{"role": "user", "content": said}], "stream": stream}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return web.send(head, body)


def test_probes_and_pages_respond_while_submissions_wait_for_a_lock(service: Service, stack: ExitStack):
    web = serve(service, stack)
    web.submit()
    posts = ThreadPoolExecutor(20)
    with service.database.engine.connect() as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        connection.exec_driver_sql("COMMIT" if is_sqlite else "SELECT 1")
        connection.exec_driver_sql("BEGIN EXCLUSIVE" if is_sqlite else "LOCK TABLE jobs IN EXCLUSIVE MODE")
        answers = [posts.submit(web.submit) for _ in range(20)]
        eventually(lambda: web.held("requests") == 20)
        for path in ("/healthz", "/readyz", "/", "/api/v1/openapi.json"):
            assert web.client.get(path).status_code == 200, path
        assert not any(answer.done() for answer in answers), "a submission did not wait for the lock"
        connection.exec_driver_sql("ROLLBACK")
    assert len({answer.result() for answer in answers}) == 20
    posts.shutdown()


@postgresql
def test_other_clients_get_responses_while_560_chats_wait(service: Service, stack: ExitStack):
    web = serve(service, stack, max_requests=600)  # all chats start at the same time
    for number in range(560):
        stack.enter_context(chat(web, f"picture number {number}"))
    eventually(lambda: (web.held("streams"), web.held("requests")) == (560, 0), 60)
    for path in ("/readyz", "/", "/api/v1/models", "/api/v1/jobs"):
        assert web.client.get(path).status_code == 200, path
    web.submit()


@sqlite
def test_a_disconnected_client_frees_its_place(service: Service, stack: ExitStack):
    web = serve(service, stack)
    job = web.submit()
    waiting = [
        *(chat(web, f"cat {number}", stream=number % 2 == 0) for number in range(10)),
        *(web.send(f"GET /api/v1/jobs/{job}?wait=25 HTTP/1.1") for _ in range(5)),
        *(web.send("GET /api/v1/events HTTP/1.1") for _ in range(5)),
    ]
    eventually(lambda: web.held("streams") == 20)
    for connection in waiting[:-1]:
        connection.close()
    eventually(lambda: web.held("streams") == 1)
    waiting[-1].close()


@sqlite
def test_a_stalled_upload_is_ended_and_does_not_block_other_tenants(service: Service, stack: ExitStack):
    with service.database.write() as session:
        silent, other = keys.create(session, "silent", "test"), keys.create(session, "other", "test")
    web = serve(service, stack, require_keys=True, upload_seconds=6.0)
    head = "POST /api/v1/bulks HTTP/1.1\r\nContent-Type: application/jsonl\r\nContent-Length: 9000"
    uploads = [stack.enter_context(web.send(head, b'{"prompt": "x"}\n', key=silent)) for _ in range(4)]
    eventually(lambda: web.held("bulks") == 2)
    answer = web.client.post(
        "/api/v1/bulks",
        content=b'{"prompt": "x"}\n',
        headers={"Content-Type": "application/jsonl", "Authorization": f"Bearer {other}"},
    )
    assert answer.status_code == 202
    codes = sorted(int(connection.recv(9000).split()[1]) for connection in uploads)
    assert codes == [408, 408, 429, 429]
    eventually(lambda: web.held("bulks") == 0)


@sqlite
def test_the_server_prepares_little_more_than_a_slow_reader_takes(service: Service, stack: ExitStack):
    web = serve(service, stack)
    lines = b'{"prompt": "x"}\n' * 5_000
    bulk = web.client.post("/api/v1/bulks", content=lines, headers={"Content-Type": "application/jsonl"}).json()["id"]
    before = len(web.client.get(f"/api/v1/bulks/{bulk}/results").content)
    reader = stack.enter_context(web.send(f"GET /api/v1/bulks/{bulk}/results HTTP/1.1"))
    looks = [-1]

    def waits() -> bool:
        looks.append(unread(web, reader))
        return looks[-1] > 0 and looks[-1] == looks[-2]

    eventually(waits)
    assert before > 2_000_000
    assert looks[-1] < 300_000, "the server prepares a response that its client does not read"


def unread(web: Web, client: socket.socket) -> int:
    """The bytes of a response that the system keeps for a client: those not sent, and those sent but not read."""
    server, here = web.service.settings.port, client.getsockname()[1]
    with open("/proc/net/tcp") as table:  # noqa: PTH123 - not a file
        rows = [line.split() for line in table][1:]
    queues = {(int(row[1].split(":")[1], 16), int(row[2].split(":")[1], 16)): row[4].split(":") for row in rows}
    return int(queues[server, here][0], 16)


@sqlite
def test_a_slow_body_is_ended(service: Service, stack: ExitStack):
    web = serve(service, stack, upload_seconds=1.0)
    head = "POST /api/v1/jobs HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 9000"
    connection = stack.enter_context(web.send(head))
    connection.settimeout(0.1)

    def answer() -> bytes:
        connection.sendall(b" ")
        try:
            return connection.recv(9000)
        except TimeoutError:
            return b""

    assert b" 408 " in eventually(answer)


@postgresql
def test_waiting_needs_no_thread_and_no_connection(service: Service, stack: ExitStack):
    web = serve(service, stack)
    job = web.submit()
    [process] = psutil.Process(web.process.pid).children()
    threads = process.num_threads()
    for _ in range(300):
        stack.enter_context(web.send(f"GET /api/v1/jobs/{job}?wait=25 HTTP/1.1"))
    eventually(lambda: web.held("streams") == 300)
    assert process.num_threads() <= threads + 1

    url = service.database.engine.url
    statistics = Database(url.set(database="postgres").render_as_string(hide_password=False))
    stack.callback(statistics.dispose)
    query = text("SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = :name")

    def transactions(before: int = 0) -> int:
        with statistics.read() as session:
            return max(0, session.scalar(query, {"name": url.database}) - before)

    # The requests' own transactions come first, as the server counts them late; afterwards one query a round is left.
    eventually(lambda: eventually(partial(transactions, transactions() + 4)) < 60, 60)


@sqlite
def test_invalid_messages_on_the_channel_are_skipped(service: Service, stack: ExitStack):
    web = serve(service, stack)
    invalid_messages = [b"{", b"\xff\xfe", b"[]", b"null", b'{"id": 1}', b'{"id": "a", "tenant_id": "b"}', b"[" * 9000]
    with web.client.stream("GET", "/api/v1/events") as stream, redis_at(service.settings.redis_url) as redis:
        lines = stream.iter_lines()
        assert next(lines).startswith("retry")
        eventually(lambda: redis.pubsub_numsub(JOB_CHANNEL)[0][1] >= 1)
        for message in invalid_messages:
            redis.publish(JOB_CHANNEL, message)
        job = web.submit()
        assert any(f'"{job}"' in line for line in lines)
    assert web.client.get("/readyz").json()["hints"]["skipped"] == len(invalid_messages)


@sqlite
def test_a_hanging_store_does_not_block_other_requests(
    service: Service, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
):
    store = stack.enter_context(socket.create_server(("127.0.0.1", 0)))  # accepts connections and never responds
    for name, value in {
        "AWS_ENDPOINT": f"http://127.0.0.1:{store.getsockname()[1]}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    web = serve(service, stack, blob_url="s3://bucket/pictures")
    picture = finished_picture(service, web.submit(), b"")
    for _ in range(20):
        stack.enter_context(web.send(f"GET /api/v1/images/{picture} HTTP/1.1"))
    eventually(lambda: web.held("requests") == 20)
    assert web.client.get("/readyz").status_code == 200
    web.submit()
    assert web.held("requests") == 20


def finished_picture(service: Service, job: str, data: bytes, digest: str = "0" * 64) -> str:
    """Finish a job as a worker does and return the id of its picture."""
    with service.database.write() as session:
        [claim] = ledger.claim(session, [job], "a worker", 60)
        image = NewImage(digest, "image/png", 64, 64, len(data), 1, {})
        changes = ledger.finish(session, [ledger.Result(job, claim.attempt, [image])])
    Hints(connect(service.settings.redis_url)).changed(changes)
    with service.database.read() as session:
        return session.scalar(text("SELECT id FROM images WHERE job_id = :job"), {"job": job})


@pytest.mark.timeout(600)
def test_nothing_blocks_the_event_loop(service: Service, stack: ExitStack):
    """No greenlet keeps the loop for more than 100 ms of its thread's own time (see `loop_monitor`), whatever route is
    called.

    A busy machine can still slow a single call down, so only a function that blocks in each try fails.
    """
    models = (service.folder / "painter.toml", CANVAS)
    web = serve(service, stack, "tests.distributed.loop_monitor", log_level="warning", models=models)
    tour = stack.enter_context(touring(service, web.client))
    blocking: set[str] | None = None
    blocks: list[dict[str, Any]] = []
    for _ in range(3):
        before = len(server_log(service))
        every_route(tour)
        assert ROUTES.keys() - tour.called == LEFT_OUT.keys(), "a route is missing in bench/tour.py or tour_doors.py"
        load_the_loop(web.client, web.submit)
        blocks = loop_blocks(server_log(service)[before:])
        found = {function for block in blocks for function in specific(block["functions"])}
        blocking = found if blocking is None else blocking & found
        if not blocking:
            return
    raise AssertionError(f"{blocking}\n\n{json.dumps(blocks, indent=1)}")


def loop_blocks(log: str) -> list[dict[str, Any]]:
    return [json.loads(line.partition(MARK)[2]) for line in log.splitlines() if MARK in line]


def specific(functions: list[str]) -> list[str]:
    """Limner's functions in a stack except those of every request; the innermost function if there is none."""
    ours = [each for each in functions if "/limner_" in each and not each.endswith(EVERY_REQUEST)]
    return ours or functions[-1:]


def server_log(service: Service) -> str:
    [log] = service.folder.glob("serve-*.log")
    return log.read_text()
