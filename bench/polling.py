"""Polls: their rate against an empty Flask view in the same server, and thousands of waiting clients.

    python -m bench.polling [--quick]

Rate: one web process answers polls of unchanged jobs with 304, and calls of an empty view, in turns. Waiting: two web
processes hold long polls and event streams; jobs are ended through the ledger and announced as a worker does it, and
the clients' clock is this machine's monotonic one.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import click
import httpx
import psutil

from bench.common import NULL_CARD, report, summary
from bench.misbehaving_clients import await_ready, url
from limner_client.client import Client
from limner_client.local.embedded_valkey import EmbeddedValkey, free_port
from limner_client.local.processes import Child
from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.db.schema import upgrade
from limner_shared.db.tables import Job
from limner_shared.messaging.hints import Hints, connect
from limner_shared.settings import Settings

GOAL_RATE, GOAL_MB, GOAL_SECONDS = 0.8, 500.0, 0.1
CONNECTIONS: Final = 8
WAITERS: Final = 6
"""Clients that wait for each job: five long polls and a stream."""
PLAIN: Final = b"GET /empty HTTP/1.1\r\nHost: localhost\r\n\r\n"


@contextmanager
def web(processes: int) -> Iterator[tuple[Settings, Child]]:
    """Start web processes without a worker, so that jobs stay queued."""
    with tempfile.TemporaryDirectory(prefix="limner-bench-") as name, ExitStack() as at_end:
        folder = Path(name)
        valkey = EmbeddedValkey(folder / "valkey", folder / "valkey.log")
        valkey.start()
        at_end.callback(valkey.stop)
        settings = Settings(
            data_dir=folder,
            redis_url=valkey.url,
            port=free_port(),
            models=(NULL_CARD,),
            default_model="null",
            web_workers=processes,
            max_streams=8192,
            log_level="warning",
        )
        upgrade(settings.resolved_database_url)
        ensure_tenant(settings)
        command = [sys.executable, "-m", "bench.polling_server"]
        server = Child("web", command, environment={**os.environ, **settings.variables}, log_file=folder / "web.log")
        at_end.callback(server.close)
        at_end.callback(server.wait, 10)
        at_end.callback(server.terminate)
        await_ready(settings)
        yield settings, server


def ensure_tenant(settings: Settings) -> None:
    """Create the tenant of requests without a key."""
    database = Database(settings.resolved_database_url)
    with database.write() as session:
        ledger.ensure_tenant(session, ledger.LOCAL_TENANT, ledger.LOCAL_NAME)
    database.dispose()


class Calls:
    """Sends the same requests over kept connections, one at a time on each."""

    def __init__(self, port: int, requests: Sequence[bytes], status: bytes) -> None:
        self._expected = b"HTTP/1.1 " + status
        self._open = [(socket.create_connection(("127.0.0.1", port)), request) for request in requests]

    def rate(self, seconds: float) -> float:
        """Call for so long; returns the answers a second."""
        count, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds:
            for connection, request in self._open:
                connection.sendall(request)
            for connection, _ in self._open:
                answer = connection.recv(65536)
                while b"\r\n\r\n" not in answer:
                    answer += connection.recv(65536)
                if not answer.startswith(self._expected):
                    raise SystemExit(f"unexpected answer: {answer[:300]!r}")
                count += 1
        return count / (time.perf_counter() - started)


def unchanged_polls(settings: Settings) -> list[bytes]:
    """Requests that poll queued jobs and name the ETag that each has."""
    polls: list[bytes] = []
    with Client(url(settings)) as client:
        for number in range(CONNECTIONS):
            path = f"/api/v1/jobs/{client.submit({'prompt': f'a red apple {number}'}).id}"
            tag = httpx.get(f"{url(settings)}{path}", trust_env=False).headers["ETag"]
            head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {tag}\r\n\r\n"
            polls.append(head.encode())
    return polls


def rates(rounds: int, seconds: float) -> tuple[list[float], list[float]]:
    """Return the polls and the calls of the empty view a second, in turns, from one web process."""
    with web(1) as (settings, _server):
        polls = Calls(settings.port, unchanged_polls(settings), b"304")
        empty = Calls(settings.port, [PLAIN] * CONNECTIONS, b"200")
        polls.rate(seconds)
        empty.rate(seconds)  # warm-up
        pairs = [(polls.rate(seconds), empty.rate(seconds)) for _ in range(rounds)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


@dataclass(frozen=True, slots=True)
class Waits:
    """What the waiting clients have heard."""

    seconds: list[float]
    """From each job's end until each of its clients has heard of it."""
    unheard: int
    """Clients that have not heard of it within half a minute."""
    broken: int
    """Requests whose connection broke or that were refused, and that were sent again."""
    web_mb: float


def waits(polls: int, streams: int, ended: int) -> Waits:
    """Hold these numbers of long polls and streams, and end this number of the jobs that they are about."""
    with web(2) as (settings, server):
        jobs = submit(settings, (polls + streams) // WAITERS)
        command = [sys.executable, "-m", "bench.waiting_clients", str(settings.port), str(polls), str(streams), *jobs]
        clients = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if clients.stdin is None or clients.stdout is None:
            raise SystemExit("the clients have no pipes")
        if (said := clients.stdout.readline()) != "ready\n":
            raise SystemExit(f"the clients could not connect: {said}")
        moments = end_jobs(settings, jobs[:ended])
        held = sum(child.memory_info().rss for child in psutil.Process(server.pid).children(recursive=True)) / 1e6
        clients.stdin.write(json.dumps(list(moments)) + "\n")
        clients.stdin.flush()
        told = json.loads(clients.stdout.readline())
        clients.wait(60)
    expected = len(moments) * ((polls + streams) // len(jobs))
    found = [at - moment for job, moment in moments.items() for at in told["heard"].get(job, ())]
    return Waits(found, expected - len(found), sum(told["broken"].values()), held)


def submit(settings: Settings, count: int) -> list[str]:
    """Queue jobs; returns their ids."""
    with Client(url(settings)) as client:
        return [client.submit({"prompt": "a red apple"}).id for _ in range(count)]


def end_jobs(settings: Settings, jobs: Sequence[str]) -> dict[str, float]:
    """End one job after another; returns for each the time after its commit."""
    database, hints = Database(settings.resolved_database_url), Hints(connect(settings.redis_url))
    moments: dict[str, float] = {}
    for job in jobs:
        with database.write() as session:
            changes = ledger.cancel(session, Job.id == job)
        moments[job] = time.monotonic()
        hints.changed(changes)
        time.sleep(0.1)
    database.dispose()
    return moments


@click.command()
@click.option("--quick", is_flag=True, help="Fewer rounds and clients, under 50 s.")
def main(quick: bool) -> None:
    """Measure, and print the figures."""
    ours, theirs = rates(5 if quick else 15, 1.0)
    held = waits(500, 100, 20) if quick else waits(5000, 1000, 100)
    p99 = sorted(held.seconds)[int(0.99 * len(held.seconds))]
    ratio = median(a / b for a, b in zip(ours, theirs, strict=True))
    figures = {
        "polls_per_s": summary(ours),
        "empty_view_per_s": summary(theirs),
        "ratio": round(ratio, 3),
        "heard_s": summary(held.seconds) | {"p99": round(p99, 4)},
        "unheard": held.unheard,
        "broken": held.broken,
        "web_mb": round(held.web_mb, 1),
    }
    met = ratio >= GOAL_RATE and held.web_mb < GOAL_MB and p99 < GOAL_SECONDS and not held.unheard
    goal = f"polls at least {GOAL_RATE} of the empty view; {GOAL_MB:.0f} MB; p99 below {GOAL_SECONDS} s"
    bars = {"polls answered with 304": ours, "an empty Flask view": theirs}
    report("polling", figures, goal, met=met, bars=bars, unit="answers a second")


if __name__ == "__main__":
    main()
