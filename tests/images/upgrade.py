"""Upgrade containers of an earlier release to the built images, as the guide says, and add a worker, all under load."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import click
import httpx

from limner_client.local.embedded_valkey import free_port
from tests.distributed.load import Balancer, Load
from tests.images.containers import Containers, beside_servers
from tests.processes import eventually

START_SECONDS: Final = 300
RATE: Final = 2.0
"""Requests a second meanwhile."""
FIRST: Final = 40
"""Requests that are answered before the upgrade begins."""


def wait_until_ready(containers: Containers, port: int, workers: int = 1, dispatchers: int = 1) -> None:
    """Wait until the web server at a port answers and knows of as many processes."""

    def is_ready() -> bool:
        assert containers.all_run(), "a container has ended"
        try:
            found = httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False, timeout=10).json()
        except (httpx.HTTPError, ValueError):
            return False
        running = found["workers"]["running"], found["dispatchers"]["running"]
        return found["status"] == "ok" and running == (workers, dispatchers)

    eventually(is_ready, START_SECONDS, every=0.5)


def replace(containers: Containers, load: Load, ports: list[int]) -> None:
    """Replace the processes in the guide's order, each before the old one ends, and add a worker."""
    answered = len(load.seconds)
    containers.run("web", "limner", "db", "upgrade")
    for process, running in {"worker": (2, 1), "dispatcher": (1, 2), "serve": (1, 1)}.items():
        new = ports[1] if process == "serve" else None
        containers.start(process, f"new {process}", new)
        wait_until_ready(containers, new or ports[0], *running)
        code = containers.stop_one(f"old {process}")
        assert code == 0, f"the old {process} ended with exit code {code}"
        wait_until_ready(containers, new or ports[0])
        click.echo(f"ok   {process}: replaced")
    containers.start("worker", "second worker")
    wait_until_ready(containers, ports[1], workers=2)
    assert len(load.seconds) > answered, "nothing was drawn meanwhile"


def upgrade_under_load(stack: ExitStack, previous: str, *arguments: str) -> None:
    """Each request that a client sends meanwhile is answered with its pictures; `stack` stops everything."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="limner-images-")))
    containers, ports = beside_servers(stack, folder, *arguments), [free_port(), free_port()]
    balancer = Balancer(ports)
    stack.callback(balancer.close)
    load = Load(balancer.url)
    stack.callback(load.stop)
    try:
        containers.run("web", "limner", "db", "upgrade", tag=previous)
        for process in ("serve", "dispatcher", "worker"):
            containers.start(process, f"old {process}", ports[0], previous)
        wait_until_ready(containers, ports[0])
        load.start(RATE)
        eventually(lambda: len(load.seconds) + len(load.failures) > FIRST, START_SECONDS)
        replace(containers, load, ports)
        load.stop()
        assert load.failures == [], load.failures
        containers.run("backup", "limner", "check")
        codes = containers.stop()
    except BaseException:
        click.echo(containers.logs(), err=True)
        raise
    assert set(codes.values()) == {0}, f"exit codes: {codes}"
    click.echo(f"ok   upgraded from {previous} under load: {len(load.seconds)} requests answered, none failed")
