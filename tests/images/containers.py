"""Containers of the built images, as hardened as in docker-compose.yml: run by podman, on this machine's network."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from tests.conftest import start_valkey
from tests.stores.postgresql import Postgres

HARDENED: Final = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
STOP_SECONDS: Final = 90
UID: Final = 10001
PROCESSES: Final = {"serve": "web", "dispatcher": "web", "worker": "worker"}
"""Each process and its image."""
NEEDED: Final = {
    "serve": ("--env=TMPDIR=/data",),
    "worker": ("--env=LIMNER_DEVICE=cpu", "--tmpfs=/home/limner/.cache:mode=1777"),
}
"""What a process is given besides."""


def image(name: str, tag: str | None = None) -> str:
    return f"localhost/limner-{name}:{tag or version('limner')}"


def podman(*words: str, check: bool = True) -> str:
    """Run podman and return what it writes. Fails with its messages."""
    done = subprocess.run(["podman", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, f"podman {' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


class Containers:
    """Containers with the same settings and the same folder of data; removed at the end."""

    def __init__(self, data: Path, settings: Mapping[str, str], *arguments: str) -> None:
        """`arguments` are podman's, for every container."""
        variables = [f"--env={name}={value}" for name, value in settings.items()]
        place = ["--network=host", "--tmpfs=/tmp", f"--volume={data}:/data", *variables]
        self._arguments = [*HARDENED, *place, *arguments]
        self._names: dict[str, str] = {}
        self._stopped: dict[str, str] = {}

    def run(self, name: str, *command: str, mounts: Mapping[Path, str] | None = None, tag: str | None = None) -> str:
        """Run a command in a new container to its end; what it wrote."""
        volumes = [f"--volume={folder}:{place}" for folder, place in (mounts or {}).items()]
        return podman("run", "--rm", *self._arguments, *volumes, image(name, tag), *command)

    def start(self, process: str, called: str | None = None, port: int | None = None, tag: str | None = None) -> None:
        """Start `limner PROCESS` in the background. It is `called` as its process, unless there are several."""
        place = () if port is None else (f"--env=LIMNER_PORT={port}",)
        name = image(PROCESSES[process], tag)
        words = ("run", "--detach", *self._arguments, *NEEDED.get(process, ()), *place, name, "limner", process)
        self._names[called or process] = podman(*words)

    def inside(self, process: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a container that runs."""
        words = ["podman", "exec", self._names[process], *command]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    def all_run(self) -> bool:
        """Whether none of those that were not stopped has ended."""
        states = [podman("inspect", "--format={{.State.Running}}", name) for name in self._names.values()]
        return set(states) == {"true"}

    def logs(self) -> str:
        parts: list[str] = []
        for process, container in (self._names | self._stopped).items():
            words = ["podman", "logs", "--tail=60", container]
            said = subprocess.run(words, capture_output=True, text=True, check=False)
            parts.append(f"--- {process}\n{said.stdout}{said.stderr}")
        return "\n".join(parts)

    def stop(self) -> dict[str, int]:
        """Stop all as an operator does; the exit code of each process."""
        return {process: self.stop_one(process) for process in reversed(list(self._names))}

    def stop_one(self, process: str) -> int:
        """Stop one; its exit code."""
        container = self._names.pop(process)
        self._stopped[process] = container
        podman("stop", f"--time={STOP_SECONDS}", container)
        return int(podman("inspect", "--format={{.State.ExitCode}}", container))

    def remove(self) -> None:
        for container in (*self._names.values(), *self._stopped.values()):
            podman("rm", "--force", "--volumes", "--time=0", container, check=False)


def owned(folder: Path) -> Path:
    """Make a folder of the images' user."""
    folder.mkdir()
    os.chown(folder, UID, UID)
    return folder


def beside_servers(stack: ExitStack, folder: Path, *arguments: str) -> Containers:
    """Containers of one installation, with a PostgreSQL and a Valkey of its own; `stack` stops everything."""
    folder.chmod(0o755)  # PostgreSQL and the images run as other users
    database = Postgres(folder / "postgres")
    stack.callback(database.kill)
    database.create()
    valkey = start_valkey()
    stack.callback(valkey.stop)
    settings = {"LIMNER_DATABASE_URL": database.url, "LIMNER_REDIS_URL": f"redis://127.0.0.1:{valkey.port}/0"}
    containers = Containers(owned(folder / "data"), settings, *arguments)
    stack.callback(containers.remove)
    return containers


def configuration(name: str) -> dict[str, Any]:
    """How an image is configured, and its size in bytes."""
    [found] = json.loads(podman("image", "inspect", image(name)))
    return found
