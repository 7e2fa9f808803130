"""Containers of the built images, as hardened as in docker-compose.yml: run by podman, on this machine's network."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

HARDENED: Final = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
STOP_SECONDS: Final = 90
UID: Final = 10001


def image(name: str) -> str:
    return f"localhost/limner-{name}:{version('limner')}"


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

    def run(self, name: str, *command: str, mounts: Mapping[Path, str] | None = None) -> str:
        """Run a command in a new container to its end; what it wrote."""
        volumes = [f"--volume={folder}:{place}" for folder, place in (mounts or {}).items()]
        return podman("run", "--rm", *self._arguments, *volumes, image(name), *command)

    def start(self, image_name: str, process: str, *arguments: str) -> None:
        """Start `limner PROCESS` in the background."""
        words = ("run", "--detach", *self._arguments, *arguments, image(image_name), "limner", process)
        self._names[process] = podman(*words)

    def inside(self, process: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a container that runs."""
        words = ["podman", "exec", self._names[process], *command]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    def runs(self, process: str) -> bool:
        return podman("inspect", "--format={{.State.Running}}", self._names[process]) == "true"

    def logs(self) -> str:
        parts: list[str] = []
        for process, container in self._names.items():
            words = ["podman", "logs", "--tail=60", container]
            said = subprocess.run(words, capture_output=True, text=True, check=False)
            parts.append(f"--- {process}\n{said.stdout}{said.stderr}")
        return "\n".join(parts)

    def stop(self) -> dict[str, int]:
        """Stop all as an operator does; the exit code of each process."""
        codes: dict[str, int] = {}
        for process, container in reversed(self._names.items()):
            podman("stop", f"--time={STOP_SECONDS}", container)
            codes[process] = int(podman("inspect", "--format={{.State.ExitCode}}", container))
        return codes

    def remove(self) -> None:
        for container in self._names.values():
            podman("rm", "--force", "--volumes", "--time=0", container, check=False)


def configuration(name: str) -> dict[str, Any]:
    """How an image is configured, and its size in bytes."""
    [found] = json.loads(podman("image", "inspect", image(name)))
    return found
