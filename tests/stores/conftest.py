"""Fixtures for tests of the storage of production: servers of other projects, each with its own folder."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from limner_client.local.embedded_valkey import free_port
from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.settings import Settings
from tests.processes import Service
from tests.stores.postgresql import PgBouncer, Postgres
from tests.stores.seaweedfs import seaweedfs

__all__ = ["seaweedfs"]

CARD = Path(__file__).parents[1] / "models" / "null.toml"


@pytest.fixture(scope="module")
def server_folder() -> Iterator[Path]:
    """A folder that servers under another user can enter, which pytest's own is not."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def start_service(tmp_path: Path, redis_url: str) -> Iterator[Callable[..., Service]]:
    """Makes a service with the null model and these settings; its database must have the schema."""
    stack = ExitStack()

    def make(**settings: Any) -> Service:
        given: dict[str, Any] = {"models": (CARD,), "default_model": "null", "redis_url": redis_url}
        given |= {"lease_seconds": 3.0, "heartbeat_seconds": 0.5, "data_dir": tmp_path / "data", "port": free_port()}
        complete = Settings(**given | settings)
        database = Database.of(complete)
        stack.callback(database.dispose)
        with database.write() as session:
            ledger.ensure_tenant(session, ledger.LOCAL_TENANT, ledger.LOCAL_NAME)
        service = Service(complete, database, tmp_path)
        stack.callback(service.stop)
        return service

    with stack:
        yield make


@pytest.fixture(scope="module")
def plain_postgres(server_folder: Path) -> Iterator[Postgres]:
    """A PostgreSQL with an empty database."""
    server = Postgres(server_folder / "plain")
    server.create()
    yield server
    server.kill()


@pytest.fixture
def make_pooler(server_folder: Path, plain_postgres: Postgres) -> Iterator[Callable[..., PgBouncer]]:
    """Starts PgBouncers in front of that PostgreSQL."""
    stack = ExitStack()

    def start(*config: str, size: int = 4) -> PgBouncer:
        folder = Path(tempfile.mkdtemp(dir=server_folder)) / "pool"
        folder.parent.chmod(0o755)
        pooler = PgBouncer(folder, plain_postgres, *config, size=size)
        stack.callback(pooler.kill)
        pooler.wait()
        return pooler

    with stack:
        yield start
