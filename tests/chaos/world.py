"""The service under test and its surroundings: what the faults break, and what they tell the oracle."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.chaos.servers import Disk, RedisServer, Store
from tests.chaos.webhooks import Shop
from tests.processes import Service, environment


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

    def restart_dead(self) -> None:
        """Start every process that does not run."""
        for role in ("serve", "dispatcher-1", "dispatcher-2", "worker-1", "worker-2"):
            if role not in self.roles or self.roles[role].poll() is not None:
                self.roles[role] = self.service.start(role.partition("-")[0])

    def random_process(self, kind: str) -> subprocess.Popen[bytes]:
        """A random process of a kind."""
        return self.roles[self.random.choice([role for role in self.roles if role.startswith(kind)])]

    @property
    def sqlite(self) -> bool:
        """Whether the database is SQLite, which has one lock for all writes."""
        return self.store.url.startswith("sqlite")

    @property
    def url(self) -> str:
        """The URL of the web process."""
        return f"http://127.0.0.1:{self.service.settings.port}"

    def stop(self) -> None:
        """Stop all processes, servers and the disk."""
        self.service.stop()
        self.redis.stop()
        self.store.stop()
        self.disk.stop()
        self.shop.stop()


def start_faulty_process(world: World, point: str, count: int, role: str = "worker") -> subprocess.Popen[bytes]:
    """Start an additional process with an injected fault."""
    world.fault_log[-1] += f" {point} #{count} {role}"
    command = [sys.executable, "-m", "tests.chaos.fault_injection", point, str(count), role]
    return start_additional(world, command, environment(world.service.settings))


def start_additional(world: World, command: Sequence[str], variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start an additional process with these environment variables; its log goes to the service's folder."""
    with (world.service.folder / f"additional-{len(world.service.processes)}.log").open("wb") as log:
        process = subprocess.Popen(command, env=variables, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    world.service.processes.append(process)
    return process
