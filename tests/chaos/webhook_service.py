"""The service of the rounds for webhooks, how its processes are killed, and the clients whose jobs end meanwhile."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import psutil

from limner_shared.db.engine import Database
from limner_shared.domain.ids import new_id
from tests.chaos.servers import Postgres, RedisServer, Sqlite, new_service
from tests.chaos.traffic import until_accepted
from tests.processes import Service, eventually

EVENT: Final = "job.canceled"
TIMEOUT_SECONDS: Final = 2.0
GIVE_UP_SECONDS: Final = 240.0
"""The patience of a client: on a busy machine a killed web server needs a minute and more to start."""
FAULTS: Final = ("dispatcher", "Redis", "web server", "web server's main process", "web worker", None)


@dataclass
class World:
    """The service: a database, Redis, two dispatchers and a web server with two processes."""

    service: Service
    redis: RedisServer
    store: Postgres | Sqlite
    roles: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict[str, subprocess.Popen[bytes]])

    def restart_dead(self) -> None:
        """Start each process that does not run."""
        for role in ("dispatcher-1", "dispatcher-2", "serve"):
            if role not in self.roles or self.roles[role].poll() is not None:
                self.roles[role] = self.service.start(role.partition("-")[0])

    @property
    def database(self) -> Database:
        return self.service.database

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.service.settings.port}/api/v1"

    def stop(self) -> None:
        kill_group(self.roles["serve"])
        self.service.stop()
        self.redis.stop()
        self.store.stop()


def build(folder: Path, kind: str) -> World:
    """Create a service without workers."""
    service, redis, store = new_service(folder, kind, web_workers=2, webhook_timeout_seconds=TIMEOUT_SECONDS)
    world = World(service, redis, store)
    world.restart_dead()
    eventually(service.web_responds, 60)
    return world


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all its children at once."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait(10)


def kill_a_server(world: World, chance: random.Random) -> list[str]:
    """Kill a dispatcher, Redis or a part of the web server, or nothing; what was killed is started again."""
    fault, server = chance.choice(FAULTS), world.roles["serve"]
    if fault == "dispatcher":
        world.roles[chance.choice([role for role in world.roles if role.startswith(fault)])].kill()
    elif fault == "Redis":
        world.redis.crash()
        time.sleep(chance.uniform(0, 1))
        world.redis.start()
    elif fault == "web server":
        kill_group(server)
    elif fault == "web server's main process":
        server.kill()
    elif fault is not None and server.poll() is None:
        for child in psutil.Process(server.pid).children()[:1]:
            child.kill()
    world.restart_dead()
    return [] if fault is None else [f"{fault} killed"]


class Clients(threading.Thread):
    """Submits jobs with a webhook of their own and cancels them, each request repeated until it is answered."""

    def __init__(self, world: World, webhook: str, count: int) -> None:
        super().__init__(daemon=True)
        self._world = world
        self._webhook = webhook
        self._count = count
        self.ended: set[str] = set()
        self.failures: list[str] = []

    def run(self) -> None:
        with httpx.Client(base_url=self._world.api, timeout=10, trust_env=False) as client:
            for _ in range(self._count):
                request = {"prompt": "a job", "webhook": self._webhook, "webhook_events_filter": [EVENT]}
                job = self._until_accepted(client, "/jobs", request)
                if job and self._until_accepted(client, f"/jobs/{job['id']}/cancel", {}):
                    self.ended.add(job["id"])

    def _until_accepted(self, client: httpx.Client, path: str, body: Mapping[str, Any]) -> dict[str, Any] | None:
        return until_accepted(client, path, new_id("key"), GIVE_UP_SECONDS, self.failures, json=body)

    def end(self) -> set[str]:
        """Wait for the end of the last job, while dead processes are started again; returns the ids."""
        while self.is_alive():
            self._world.restart_dead()
            self.join(0.5)
        return self.ended
