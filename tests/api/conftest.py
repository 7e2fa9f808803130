"""Fixtures for the web application: each test has its own database and uses Flask's test client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from limner_client.local.embedded_valkey import free_port
from limner_shared.db.engine import Database
from limner_shared.settings import Settings
from limner_web.app import create_app
from tests.api.clients import ApiClient, App
from tests.conftest import copy_of_database
from tests.processes import Service


@pytest.fixture(params=["sqlite"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """SQLite, unless a test is marked `both_databases`: only the ledger differs, and it has its own tests."""
    with copy_of_database(request, tmp_path) as url:
        yield url


@pytest.fixture
def make_app(settings: Settings, database_url: str, database: Database) -> Iterator[Callable[..., App]]:
    """Creates applications with their own settings on the test's database; closes all of them at the end."""
    made: list[App] = []

    def make(**changes: Any) -> App:
        made.append(cast(App, create_app(settings.model_copy(update={"database_url": database_url} | changes))))
        return made[-1]

    yield make
    for app in made:
        app.extensions["limner"].key_usage.close()
        app.extensions["limner"].database.dispose()


@pytest.fixture
def app(make_app: Callable[..., App]) -> App:
    """The application as on a laptop: without keys, on loopback."""
    return make_app()


@pytest.fixture
def client(app: App) -> ApiClient:
    """Sends requests through the application's whole HTTP stack."""
    return app.test_client()


@pytest.fixture
def server(settings: Settings, database_url: str, database: Database, tmp_path: Path) -> Iterator[Service]:
    """`limner serve` as a real process on a free port."""
    changes = {"database_url": database_url, "port": free_port(), "web_workers": 1}
    service = Service(settings.model_copy(update=changes), database, tmp_path)
    service.start_web()
    yield service
    service.stop()
