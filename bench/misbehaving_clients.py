"""Latency for one tenant beside 2,000 waiting clients and misbehaving clients.

    python -m bench.misbehaving_clients [--quick]

Two web processes and PostgreSQL. One tenant submits and polls jobs, alone and beside a crowd of other tenants' clients:
1,500 long polls and 500 event streams with the progress of running jobs, slow readers, stalled uploads, requests
without headers, and chats whose clients disconnect (`bench/crowd.py`).

The crowd arrives within seconds, and every client of it costs a request then. That time is measured by itself; the goal
is about the time after it, when the web processes hold all clients. The clients use the same cores as the service; the
figures say how much of them each kind of process uses.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

import click
import httpx
import psutil

from bench.common import NULL_CARD, postgres, report, summary
from bench.crowd import POLLS, SLOW_READERS, STREAMS
from limner_client.client import Client
from limner_client.local.embedded_valkey import EmbeddedValkey, free_port
from limner_client.local.processes import Child
from limner_shared.db.accounts import keys
from limner_shared.db.engine import Database
from limner_shared.db.schema import upgrade
from limner_shared.messaging.hints import Hints, Progress, connect
from limner_shared.settings import Settings

GOAL: Final = 2.0
METRICS_KEY: Final = "bench"
TENANTS: Final = 4
BULK_LINES: Final = 5_000
REQUESTS_PER_SECOND: Final = 20
PROGRESS_PER_SECOND: Final = 16
HELD: Final = round(0.98 * (POLLS + STREAMS + SLOW_READERS))
"""The slots in use once all have arrived: some clients are always between two polls."""
ARRIVAL_SECONDS: Final = 120.0
JOB: Final = {"prompt": "a red apple"}


@dataclass
class Times:
    """Milliseconds of each response."""

    submit: list[float] = field(default_factory=list[float])
    look: list[float] = field(default_factory=list[float])
    refused: int = 0


@contextmanager
def web(folder: Path, database_url: str) -> Iterator[Settings]:
    """Start two web processes and no worker, so jobs stay queued and clients wait."""
    valkey = EmbeddedValkey(folder / "valkey", folder / "valkey.log")
    valkey.start()
    settings = Settings(
        data_dir=folder,
        database_url=database_url,
        redis_url=valkey.url,
        port=free_port(),
        models=(NULL_CARD,),
        default_model="null",
        require_keys=True,
        log_level="warning",
        metrics_key=METRICS_KEY,
    )
    upgrade(database_url)
    command = [sys.executable, "-m", "limner_client.cli.main", "serve"]
    server = Child("web", command, environment={**os.environ, **settings.variables}, log_file=folder / "web.log")
    try:
        await_ready(settings)
        yield settings
    finally:
        server.terminate()
        server.wait(5)
        server.close()
        valkey.stop()


def await_ready(settings: Settings) -> None:
    """Wait until the service accepts jobs."""
    for _ in range(300):
        try:
            if httpx.get(f"{url(settings)}/readyz", timeout=2, trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise SystemExit("the web server is not ready")


def url(settings: Settings) -> str:
    """Return the URL of the web processes."""
    return f"http://127.0.0.1:{settings.port}"


def client_of(settings: Settings, headers: dict[str, str]) -> httpx.Client:
    """Return a client that uses no connection again which was idle for a second: the server closes it after two."""
    limits = httpx.Limits(keepalive_expiry=1)
    return httpx.Client(base_url=url(settings), headers=headers, trust_env=False, timeout=60, limits=limits)


def make_tenants(settings: Settings) -> list[dict[str, str]]:
    """Create the crowd's tenants, each with its id, a key, a queued job and a large bulk."""
    made: list[dict[str, str]] = []
    body = json.dumps(JOB).encode() + b"\n"
    for number in range(TENANTS):
        tenant_id, key = make_tenant(settings, f"crowd-{number}")
        with Client(url(settings), key) as client:
            bulk = client.submit_bulk([body] * BULK_LINES)
            made.append({"id": tenant_id, "key": key, "job": client.submit(JOB).id, "bulk": bulk.id})
    return made


def make_tenant(settings: Settings, name: str) -> tuple[str, str]:
    """Create a tenant; returns its id and key."""
    database = Database(settings.resolved_database_url)
    with database.write() as session:
        key = keys.create(session, name, "bench")
        tenant_id = keys.authenticate(session, key).tenant_id
    database.dispose()
    return tenant_id, key


def measure(client: httpx.Client, going_on: Callable[[], bool], times: Times) -> None:
    """Submit and poll at a steady rate; late requests are not caught up."""
    while going_on():
        started = time.perf_counter()
        answer = client.post("/api/v1/jobs", json=JOB)
        submitted = time.perf_counter()
        if not answer.is_success:
            times.refused += 1
            time.sleep(1 / REQUESTS_PER_SECOND)
            continue
        answer = client.get(f"/api/v1/jobs/{answer.json()['id']}")
        if not answer.is_success:
            times.refused += 1
            time.sleep(1 / REQUESTS_PER_SECOND)
            continue
        looked = time.perf_counter()
        times.submit.append((submitted - started) * 1000)
        times.look.append((looked - submitted) * 1000)
        time.sleep(max(0.0, 1 / REQUESTS_PER_SECOND - (looked - started)))


def for_seconds(seconds: float) -> Callable[[], bool]:
    """Return a function that is true for so long."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() < end


class Arrival:
    """Tells whether the crowd is still arriving, by the slots that the web processes together say that they hold."""

    def __init__(self, settings: Settings) -> None:
        headers = {"Authorization": f"Bearer {METRICS_KEY}"}
        self._client = client_of(settings, headers)
        self._started = time.monotonic()
        self._arrived = threading.Event()
        self.seconds = 0.0

    def watch(self) -> None:
        """Look until all have arrived."""
        while self.held() < HELD:
            if time.monotonic() - self._started > ARRIVAL_SECONDS:
                self._arrived.set()
                raise SystemExit(f"only {self.held()} of the crowd's clients are held by the server")
            time.sleep(2)  # metrics of several processes cost more than a request
        self.seconds = time.monotonic() - self._started
        self._arrived.set()

    def held(self) -> int:
        """The slots of clients that wait."""
        found = re.search(
            r'^limner_http_slots\{kind="streams"\} (\S+)', self._client.get("/metrics").text, re.MULTILINE
        )
        return int(float(found[1])) if found else 0

    def going_on(self) -> bool:
        """Whether clients are still arriving."""
        return not self._arrived.is_set()


def used() -> dict[str, float]:
    """Processor seconds of this benchmark's processes so far, by kind."""
    kinds = {"bench.crowd": "crowd", "serve": "web", "postgres": "database", "valkey-server": "redis"}
    found: dict[str, float] = dict.fromkeys([*kinds.values(), "measuring client"], 0.0)
    here = psutil.Process()
    for process in psutil.process_iter(["cmdline", "create_time", "pid"]):
        if process.info["create_time"] < here.create_time():
            continue
        words = " ".join(process.info["cmdline"] or [])
        kind = next((kind for word, kind in kinds.items() if word in words), None)
        kind = "measuring client" if process.info["pid"] == here.pid else kind
        if kind is not None:
            times = process.cpu_times()
            found[kind] += times.user + times.system
    return found


@contextmanager
def shares(into: dict[str, float]) -> Iterator[None]:
    """Note the cores that each kind of process uses meanwhile."""
    before, started = used(), time.monotonic()
    yield
    after, seconds = used(), time.monotonic() - started
    into.update({kind: round((after[kind] - before[kind]) / seconds, 2) for kind in after})


@contextmanager
def crowd(settings: Settings, members: list[dict[str, str]]) -> Iterator[None]:
    """Run the crowd, whose clients begin to connect."""
    told = json.dumps([{name: each[name] for name in ("key", "job", "bulk")} for each in members])
    command = [sys.executable, "-m", "bench.crowd", url(settings), told]
    process = subprocess.Popen(command)
    over = threading.Event()
    progress = threading.Thread(target=tell_progress, args=(settings, members, over))
    progress.start()
    try:
        yield
    finally:
        over.set()
        process.kill()
        process.wait()
        progress.join()


def tell_progress(settings: Settings, members: list[dict[str, str]], over: threading.Event) -> None:
    """Send the progress reports of workers with 16 running jobs."""
    hints = Hints(connect(settings.redis_url))
    number = 0
    while not over.wait(1 / PROGRESS_PER_SECOND):
        number += 1
        member = members[number % len(members)]
        hints.progressed({member["job"]: (member["id"], Progress(number % 50, 50))})


def p95(samples: list[float]) -> float:
    """Return the 95th percentile."""
    return quantiles(samples, n=20)[-1]


@click.command()
@click.option("--quick", is_flag=True, help="Shorter, under 50 s.")
def main(quick: bool) -> None:
    """Measure, and print the figures."""
    seconds = 6.0 if quick else 60.0
    idle, arriving, crowded = Times(), Times(), Times()
    cores: dict[str, dict[str, float]] = {"idle": {}, "crowded": {}}
    with ExitStack() as open_:
        folder = Path(open_.enter_context(tempfile.TemporaryDirectory(prefix="limner-bench-")))
        settings = open_.enter_context(web(folder, open_.enter_context(postgres())))
        members = make_tenants(settings)
        headers = {"Authorization": f"Bearer {make_tenant(settings, 'measured')[1]}"}
        client = open_.enter_context(client_of(settings, headers))
        measure(client, for_seconds(1), Times())
        with shares(cores["idle"]):
            measure(client, for_seconds(seconds), idle)
        with crowd(settings, members):
            arrival = Arrival(settings)
            watching = threading.Thread(target=arrival.watch)
            watching.start()
            measure(client, arrival.going_on, arriving)
            watching.join()
            with shares(cores["crowded"]):
                measure(client, for_seconds(2 * seconds), crowded)
            held = arrival.held()
        time.sleep(2)
        measure(client, for_seconds(seconds), idle)
    ratios = {
        "submit": round(p95(crowded.submit) / p95(idle.submit), 2),
        "look": round(p95(crowded.look) / p95(idle.look), 2),
    }
    figures: dict[str, Any] = {"p95_ratio": ratios, "refused": crowded.refused, "clients_held": held}
    figures |= {"arrival_s": round(arrival.seconds, 1), "cores": cores}
    for name, times in (("idle", idle), ("arriving", arriving), ("crowded", crowded)):
        for what, samples in (("submit", times.submit), ("look", times.look)):
            figures[f"{what}_{name}_ms"] = summary(samples) | {"p95": round(p95(samples), 1)}
    bars = {
        "submit, crowd": crowded.submit,
        "submit, idle": idle.submit,
        "look, crowd": crowded.look,
        "look, idle": idle.look,
    }
    goal = f"p95 beside the crowd at most {GOAL} x that of an idle service, nothing refused"
    met = max(ratios.values()) <= GOAL and not crowded.refused
    report("misbehaving_clients", figures, goal, met=met, bars=bars, unit="milliseconds")


if __name__ == "__main__":
    main()
