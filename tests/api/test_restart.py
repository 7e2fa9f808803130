"""`limner bulk` survives a restart of the server, both while it sends and while it waits for results."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from sqlalchemy import func, select

from limner_shared.db.tables import Bulk, Job
from limner_web.app import create_app
from tests.api.fake_worker import finish, png, start
from tests.api.test_bulks import both_databases
from tests.processes import Service, eventually

LINES = [b'{"prompt": "picture %d"}\n' % number for number in range(20_000)]


def start_bulk_command(server: Service, folder: Path, lines: int):
    """Start `limner bulk` with a file of this many lines."""
    prompts = folder / "prompts.jsonl"
    prompts.write_text('{"prompt": "x"}\n' * lines)
    return server.start("bulk", "submit", str(prompts), "-o", str(folder / "out"), "--server", address(server))


def address(server: Service) -> str:
    return f"http://127.0.0.1:{server.settings.port}"


def bulks(server: Service, state: str) -> list[Bulk]:
    with server.database.read() as session:
        return list(session.scalars(select(Bulk).where(Bulk.state == state, Bulk.total > 0)))


def restart(server: Service) -> None:
    """Kill the web process and its workers, wait until the client has noticed, and start another web process."""
    os.killpg(server.processes[0].pid, signal.SIGKILL)
    server.processes[0].wait(10)
    eventually(lambda: "Trying again" in server.logs(), 60)
    server.start_web()


def finish_all_jobs(server: Service) -> None:
    app = create_app(server.settings)
    with server.database.read() as session:
        ids = list(session.scalars(select(Job.id)))
    for job_id in ids:
        finish(app, start(app, job_id), png("red"))
    app.extensions["limner"].database.dispose()


@pytest.mark.long
def test_the_command_waits_for_its_bulk_across_a_server_restart(server: Service, tmp_path: Path):
    client = start_bulk_command(server, tmp_path, 3)
    eventually(lambda: bulks(server, "open"))
    restart(server)
    finish_all_jobs(server)
    assert client.wait(60) == 0, server.logs()
    assert len(list((tmp_path / "out").glob("*.png"))) == 3
    assert len((tmp_path / "out" / "results.jsonl").read_text().splitlines()) == 3


@pytest.mark.long
def test_a_bulk_interrupted_by_a_server_crash_is_stored_once(server: Service, tmp_path: Path):
    client = start_bulk_command(server, tmp_path, 20_000)
    eventually(lambda: bulks(server, "loading"), 60, every=0.01)
    restart(server)
    [bulk] = eventually(lambda: bulks(server, "open"), 120)
    assert bulk.total == 20_000
    assert client.poll() is None
    client.send_signal(signal.SIGINT)
    assert client.wait(30) != 0


@pytest.mark.long
@both_databases
def test_a_bulk_whose_upload_a_crash_cuts_is_stored_once_when_it_is_sent_again(server: Service):
    """A dispatcher deletes what the crash has left, while the same bulk is loaded again."""
    server.start("dispatcher")
    killed = threading.Event()

    def cut() -> Iterator[bytes]:
        yield b"".join(LINES[: len(LINES) // 2])
        killed.wait(60)
        yield b"".join(LINES[len(LINES) // 2 :])

    with ThreadPoolExecutor(1) as clients:
        upload = clients.submit(send_bulk, server, cut())
        [abandoned] = eventually(lambda: bulks(server, "loading"), 60, every=0.01)
        os.killpg(server.processes[0].pid, signal.SIGKILL)
        server.processes[0].wait(10)
        killed.set()
        assert isinstance(upload.exception(60), httpx.TransportError)
    server.start_web()
    assert count_jobs(server) > 0, "nothing was stored before the crash"
    answer = eventually(lambda: send_again(server), 120, every=1)
    assert answer.status_code == 202, answer.text
    eventually(lambda: count_jobs(server) == len(LINES), 120)
    with server.database.read() as session:
        [bulk] = session.scalars(select(Bulk)).all()
        lines = session.execute(select(Job.bulk_id, Job.bulk_line).order_by(Job.bulk_line)).all()
    assert (bulk.id, bulk.state, bulk.total) == (answer.json()["id"], "open", len(LINES))
    assert bulk.id != abandoned.id
    assert [tuple(line) for line in lines] == [(bulk.id, number) for number in range(1, len(LINES) + 1)]
    assert send_bulk(server, b"".join(LINES)).json()["id"] == bulk.id, "the key has made another bulk"
    logs = "".join(file.read_text() for file in server.folder.glob("*.log"))
    assert not re.findall(r"IntegrityError|ForeignKeyViolation|FOREIGN KEY|fk_\w+", logs)


def send_bulk(server: Service, content: bytes | Iterator[bytes]) -> httpx.Response:
    headers = {"Content-Type": "application/jsonl", "Idempotency-Key": "a bulk"}
    return httpx.post(f"{address(server)}/api/v1/bulks", content=content, headers=headers, timeout=90, trust_env=False)


def send_again(server: Service) -> httpx.Response | None:
    """The answer to the same bulk; None while the service takes the first one to be loading still."""
    try:
        answer = send_bulk(server, b"".join(LINES))
    except httpx.TransportError:  # the server has refused it before all was sent
        return None
    return None if answer.status_code == 409 else answer


@pytest.mark.long
def test_a_stopping_web_process_ends_polls_and_streams_and_answers_who_waits_for_pictures(server: Service):
    url = address(server)
    job = httpx.post(f"{url}/api/v1/jobs", json={"prompt": "a hen"}).json()["id"]
    with ThreadPoolExecutor(3) as clients:
        poll = clients.submit(httpx.get, f"{url}/api/v1/jobs/{job}?wait=20", timeout=90)
        stream = clients.submit(httpx.get, f"{url}/api/v1/events", timeout=90)
        picture = clients.submit(httpx.post, f"{url}/v1/images/generations", json={"prompt": "a cat"}, timeout=90)
        eventually(lambda: count_jobs(server) == 2)
        server.processes[0].send_signal(signal.SIGTERM)
        assert poll.result(15).json()["status"] == "queued"
        assert stream.result(20).status_code == 200
        assert not picture.done()
        finish_all_jobs(server)
        assert picture.result(20).json()["data"]
    assert server.processes[0].wait(20) == 0


def count_jobs(server: Service) -> int:
    with server.database.read() as session:
        return session.scalar(select(func.count()).select_from(Job)) or 0
