"""The service under test and its surroundings: what the faults break, and what they tell the oracle."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from limner_client.local.embedded_valkey import free_port
from tests.chaos.processes import End, Target, read_from, unexpected_ends_of_web_workers, web_workers
from tests.chaos.servers import Disk, RedisServer, Store
from tests.chaos.webhooks import Shop
from tests.processes import Service, environment

ROLES: Final = ("serve", "dispatcher-1", "dispatcher-2", "worker-1", "worker-2")


@dataclass
class World:
    """The service under test, with its processes by role; dead processes are restarted, as by a supervisor."""

    service: Service
    redis: RedisServer
    store: Store
    disk: Disk
    shop: Shop
    random: random.Random
    roles: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict[str, subprocess.Popen[bytes]])
    fault_log: list[str] = field(default_factory=list[str])
    allowed: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    """By job id, the ends that a fault allows besides `succeeded`: `canceled` or an error code."""
    damaged_inputs: set[str] = field(default_factory=set[str])
    """SHA-256 digests of damaged input images; jobs that use them may fail."""
    previous: dict[str, str] | None = None
    """The environment of the previous release's processes, once its sources are unpacked."""
    previous_pids: set[int] = field(default_factory=set[int])
    """Its processes. They know no webhooks, and write other metadata into their pictures."""
    accepted: set[str] = field(default_factory=set[str])
    """Ids of jobs that a fault submitted, besides those of the traffic."""
    harmed: set[int] = field(default_factory=set[int])
    """Processes that a fault ended, or may have ended."""
    ends: list[End] = field(default_factory=list[End])
    """The processes that ended in this round, except the `harmed` ones."""
    broken: list[str] = field(default_factory=list[str])
    """The faults that failed themselves."""
    poisoned_key: str = ""
    """The API key of the tenant whose stored things are damaged, once there is one."""
    _started: dict[int, float] = field(default_factory=dict[int, float])
    _web_logs: dict[Path, int] = field(default_factory=dict[Path, int])
    """How far each log of a web server was read."""

    def begin_round(self) -> None:
        """Forget what the faults of the round before allow and caused."""
        self.fault_log, self.allowed, self.damaged_inputs, self.accepted = [], {}, set(), set()
        self.ends, self.broken = [], []

    def restart_dead(self) -> None:
        """Start every process that does not run, and note what ended."""
        for role in ROLES:
            process = self.roles.get(role)
            if process is not None and process.poll() is None:
                continue
            if process is not None:
                self.note_end(role, process)
            command = role.partition("-")[0]
            if command == "serve":
                self._web_logs[self.service.folder / f"serve-{len(self.service.processes)}.log"] = 0
            self.roles[role] = self.service.start(command)
            self._started[self.roles[role].pid] = time.monotonic()

    def note_end(self, name: str, process: subprocess.Popen[bytes]) -> None:
        """Note that a process has ended, unless a fault explains it."""
        if process.returncode is not None and process.pid not in self.harmed:
            age = time.monotonic() - self._started.get(process.pid, 0.0)
            self.ends.append(End(name, process.returncode, age))

    def ended_web_workers(self) -> list[str]:
        """The web workers that have ended since the last call, except the harmed ones."""
        found: list[str] = []
        for file, position in self._web_logs.items():
            text, self._web_logs[file] = read_from(file, position)
            found += unexpected_ends_of_web_workers(text, self.harmed)
        return found

    def aim(self, kind: str) -> Target:
        """A random process of a kind; of a web server, its main process or the one that serves the requests."""
        role = self.random.choice([role for role in ROLES if role.startswith(kind)])
        target = Target(role, self.roles[role].pid)
        if kind == "serve" and (workers := web_workers(target.pid)) and self.random.random() < 0.5:
            target = Target("web worker", self.random.choice(workers))
        self.fault_log[-1] += f" {target.name}"
        return target

    def kill(self, target: Target) -> None:
        """Kill a process, as the system does that has no memory left."""
        self.harmed.add(target.pid)
        target.send(signal.SIGKILL)

    @property
    def sqlite(self) -> bool:
        """Whether the database is SQLite, which has one lock for all writes."""
        return self.store.url.startswith("sqlite")

    @property
    def url(self) -> str:
        """The URL of the web process."""
        return f"http://127.0.0.1:{self.service.settings.port}"

    def start_additional(self, command: Sequence[str], variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start an additional process with these environment variables; its log goes to the service's folder."""
        with (self.service.folder / f"additional-{len(self.service.processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                command, env=variables, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.service.processes.append(process)
        self._started[process.pid] = time.monotonic()
        return process

    def stop(self) -> None:
        """Stop all processes, servers and the disk."""
        self.service.stop()
        self.redis.stop()
        self.store.stop()
        self.disk.stop()
        self.shop.stop()


def start_faulty_process(
    world: World, point: str, count: int, role: str = "worker", variables: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start an additional process with an injected fault."""
    world.fault_log[-1] += f" {point} #{count} {role}"
    module = "tests.chaos.web_fault_injection" if role == "serve" else "tests.chaos.fault_injection"
    command = [sys.executable, "-m", module, point, str(count), role]
    return world.start_additional(command, variables or beside(world))


def beside(world: World) -> dict[str, str]:
    """The environment of an additional process; a web server has a port of its own."""
    return environment(world.service.settings) | {"LIMNER_PORT": str(free_port())}


def signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to an additional process and its children."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
