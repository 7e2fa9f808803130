"""Faults of additional processes in other surroundings: an earlier release, a clock that jumps, a cut network."""

from __future__ import annotations

import ctypes.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import httpx
from sqlalchemy import select

from limner_client.local.embedded_valkey import free_port
from limner_shared.db.tables import Job
from tests import previous
from tests.chaos.world import World, beside, signal_group
from tests.distributed.proxy import DOWN, UP, Proxy
from tests.processes import COMMAND, TENANT, environment

ROLES: Final = ("worker", "dispatcher", "serve")
PREVIOUS_CARD: Final = "tests/models/null.toml"
PREVIOUS_PROMPT: Final = "from before"
BESIDE: Final = {"from": "a web server beside the others"}
"""The metadata of the jobs that are sent to an additional web server: nothing else tells them from duplicates."""
PATIENCE_SECONDS: Final = 10.0
"""How long an additional process may take to end."""
FAKETIME_FOLDERS: Final = ("/usr/lib", "/usr/local/lib", "/opt/lib")


def run_the_previous_release(world: World) -> None:
    """Run a process of the previous release beside this one's, as during a rolling deploy, and end it."""
    role = world.random.choice(list(previous.EARLY.commands))
    world.fault_log[-1] += f" {role}"
    if world.previous is None:
        folder = world.service.folder / "previous"
        folder.mkdir()
        world.previous = previous.unpack(folder, PREVIOUS_CARD) | {"LIMNER_MODELS": str(folder / PREVIOUS_CARD)}
    settings = world.service.settings
    port = free_port()
    # Its environment names its own sources and card, and has precedence.
    variables = environment(settings) | world.previous | {"LIMNER_PORT": str(port)}
    process = world.start_additional(previous.command(role), variables)
    world.previous_pids.add(process.pid)
    end = time.monotonic() + world.random.uniform(5, 10)
    while time.monotonic() < end:
        time.sleep(0.5)
        if role == "serve" and (job_id := _submit(f"http://127.0.0.1:{port}", {"prompt": PREVIOUS_PROMPT})):
            world.accepted.add(job_id)
    if world.random.random() < 0.5:
        process.kill()
    else:
        process.terminate()
    process.wait()


def jobs_of_the_previous_release(world: World) -> set[str]:
    """Its jobs, also those whose responses were lost with the process or came too late: they were asked for as well."""
    with world.service.database.read() as session:
        return set(session.scalars(select(Job.id).where(Job.spec["prompt"].as_string() == PREVIOUS_PROMPT)))


def _submit(url: str, request: Mapping[str, object]) -> str | None:
    """Submit a job over an additional web process; None if it is not ready yet or something that it needs is away."""
    with suppress(httpx.HTTPError):
        answer = httpx.post(f"{url}/api/v1/jobs", json={"seed": 7, **request}, timeout=5, trust_env=False)
        if answer.is_success:
            return answer.json()["id"]
    return None


@contextmanager
def submitting(variables: Mapping[str, str] | None) -> Iterator[None]:
    """Meanwhile, submit jobs to the web server with these environment variables, if there is one."""
    if variables is None:
        yield
        return
    stopping, url = threading.Event(), f"http://127.0.0.1:{variables['LIMNER_PORT']}"

    def submit() -> None:
        while not stopping.wait(0.3):
            _submit(url, {"prompt": "a job beside the others", "metadata": BESIDE})

    thread = threading.Thread(target=submit, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def jobs_from_beside(world: World) -> set[str]:
    """The jobs that were submitted to additional web servers, also those whose responses were lost."""
    with world.service.database.read() as session:
        rows = session.execute(select(Job.id, Job.extra).where(Job.tenant_id == TENANT)).all()
    return {job_id for job_id, extra in rows if extra == BESIDE}


def _end(world: World, process: subprocess.Popen[bytes], name: str) -> None:
    """End an additional process that no fault kills, unless it has ended by itself."""
    if process.poll() is not None:
        world.note_end(f"additional {name}", process)
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE_SECONDS)
    signal_group(process, signal.SIGKILL)
    process.wait()


def faketime() -> str | None:
    """The path of libfaketime (Debian's package of this name), or None if it is not installed."""
    named = os.environ.get("LIMNER_TEST_FAKETIME") or ctypes.util.find_library("faketime")
    if named is not None:
        return named
    return next((str(file) for top in FAKETIME_FOLDERS for file in sorted(Path(top).rglob("libfaketime.so.1"))), None)


def jump_a_clock(world: World) -> None:
    """Let the clock of an additional process jump while it works, twice; the database's clock stays correct.

    SQLite reads the clock of the process that executes a statement, so there is no clock that stays correct.
    """
    library, role = faketime(), world.random.choice(ROLES)
    if library is None or world.sqlite:
        world.fault_log[-1] += f" not done: {'SQLite has no clock of its own' if library else 'no libfaketime'}"
        return
    jumps = [world.random.choice([-86400, -7200, -30, 30, 7200, 86400]) for _ in range(2)]
    world.fault_log[-1] += f" {role} {jumps} s"
    offset = world.service.folder / f"clock-{len(world.service.processes)}"
    offset.write_text("+0")
    variables = beside(world) | {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # a change of the wall clock does not affect it
        "FAKETIME_DONT_RESET": "1",
    }
    command = [sys.executable, "-m", COMMAND, role]
    if role == "serve":
        variables = beside(world)
        command = [sys.executable, "-m", "tests.chaos.web_fault_injection", "clock", str(offset), role]
    process = world.start_additional(command, variables)
    with submitting(variables if role == "serve" else None):
        time.sleep(world.random.uniform(3, 6))
        for seconds in jumps:
            offset.write_text(f"{seconds:+}")
            time.sleep(world.random.uniform(1, 4))
    _end(world, process, role)


def cut_one_direction(world: World) -> None:
    """Let the network of an additional process lose one direction: its statements or the responses to them.

    The cut is shorter or longer than a lease; then the held bytes arrive, or the process is killed before.
    """
    role, way = world.random.choice(ROLES), world.random.choice([UP, DOWN])
    server = "redis" if world.sqlite else world.random.choice(["redis", "database"])
    seconds = world.random.uniform(1, world.service.settings.lease_seconds + 5)
    world.fault_log[-1] += f" {role} {server} {way} {seconds:.1f} s"
    proxy, behind = _behind_proxy(world, server)
    variables = beside(world) | behind
    process = world.start_additional([sys.executable, "-m", COMMAND, role], variables)
    with submitting(variables if role == "serve" else None):
        time.sleep(world.random.uniform(3, 6))
        proxy.cut(way)
        time.sleep(seconds)
    if world.random.random() < 0.5:
        signal_group(process, signal.SIGKILL)
        process.wait()
        world.harmed.add(process.pid)
    proxy.restore()
    time.sleep(2)
    _end(world, process, role)
    proxy.refuse()
    proxy.close()


def _behind_proxy(world: World, server: str) -> tuple[Proxy, dict[str, str]]:
    """A proxy of a server, and the variables of a process that reaches the server only through it."""
    url = world.redis.url if server == "redis" else world.store.url
    proxy = Proxy(url)
    return proxy, {"LIMNER_REDIS_URL" if server == "redis" else "LIMNER_DATABASE_URL": proxy.url}
