"""Faults of the processes that run: they are killed, ended, stopped and starved. Of a web server, that may be the main
process or the one that serves the requests.
"""

from __future__ import annotations

import signal
import subprocess
import time
from contextlib import suppress
from typing import Final

import psutil

from tests.chaos.fault_injection import POINTS
from tests.chaos.servers import PARTS
from tests.chaos.surroundings import submitting
from tests.chaos.world import World, beside, signal_group, start_faulty_process
from tests.exhaustion import nothing_more

KINDS: Final = ("serve", "dispatcher", "worker")
SQLITE_SECONDS: Final = 3.0
"""How long a process may be stopped that may hold the only lock of SQLite."""


def kill_worker(world: World) -> None:
    world.kill(world.aim("worker"))


def kill_dispatcher(world: World) -> None:
    world.kill(world.aim("dispatcher"))


def kill_web(world: World) -> None:
    world.kill(world.aim("serve"))


def deploy_worker(world: World) -> None:
    target = world.aim("worker")
    world.harmed.add(target.pid)
    target.send(signal.SIGTERM)


def worker_dies_at_a_point(world: World) -> None:
    """Start an additional worker that dies at a random point of its work."""
    point, count = world.random.choice(list(POINTS)), world.random.randint(1, 12)
    process = start_faulty_process(world, point, count)
    with suppress(subprocess.TimeoutExpired):
        process.wait(6)
    process.kill()


def freeze_in_a_transaction(world: World) -> None:
    """Stop an additional process between a statement and its commit, for longer than any lease or forever."""
    role, variables = world.random.choice(KINDS), beside(world)
    process = start_faulty_process(world, "freeze", world.random.randint(1, 20), role, variables)
    with submitting(variables if role == "serve" else None):
        # SQLite has one lock for all writes: a process stopped in a write blocks all others until it is killed.
        time.sleep(
            SQLITE_SECONDS if world.sqlite else world.service.settings.lease_seconds + world.random.uniform(1, 5)
        )
    if world.random.random() < 0.5:
        signal_group(process, signal.SIGCONT)
        time.sleep(2)
    signal_group(process, signal.SIGKILL)
    process.wait()


def break_a_device(world: World) -> None:
    process = start_faulty_process(world, "device", world.random.randint(1, 15))
    with suppress(subprocess.TimeoutExpired):
        process.wait(10)
    process.kill()


def move_a_clock(world: World) -> None:
    process = start_faulty_process(world, "clock", world.random.choice([-7200, -30, 30, 7200]))
    time.sleep(world.random.uniform(3, 8))
    process.terminate()


def stop_a_process(world: World) -> None:
    """Send SIGSTOP and later SIGCONT to a random process, after less or more than its lease."""
    target = world.aim(world.random.choice(KINDS))
    target.send(signal.SIGSTOP)
    time.sleep(SQLITE_SECONDS if world.sqlite else world.random.uniform(1, world.service.settings.lease_seconds + 5))
    target.send(signal.SIGCONT)


def zombie_worker(world: World) -> None:
    """Stop a worker until its lease expires and another worker has its jobs; then it continues with stale results."""
    target = world.aim("worker")
    target.send(signal.SIGSTOP)
    time.sleep(world.service.settings.lease_seconds + 2)
    target.send(signal.SIGCONT)


def refuse_memory_or_files(world: World) -> None:
    """Let a random process have no further memory, and so no further thread, or no further file, for some seconds."""
    target = world.aim(world.random.choice(KINDS))
    what = world.random.choice(["memory", "files"])
    world.fault_log[-1] += f" ({what} of {target.pid})"
    world.harmed.add(target.pid)  # a process without memory may end
    with suppress(ProcessLookupError, psutil.NoSuchProcess), nothing_more(target.pid, what):
        time.sleep(world.random.uniform(1, 8))


def freeze_database(world: World) -> None:
    """Stop the process that accepts PostgreSQL's connections, or a session's, for less or more than a lease."""
    part, lease = world.random.choice(PARTS), world.service.settings.lease_seconds
    seconds = world.random.choice([world.random.uniform(1, lease - 1), world.random.uniform(lease + 1, lease + 5)])
    world.fault_log[-1] += " not done: SQLite has no process" if world.sqlite else f" {part} {seconds:.1f} s"
    if not world.sqlite:
        world.store.freeze(part, seconds)
